#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml and docker-compose.single.yml name, one file each, where there is none yet.
# Run it once before the first start: docker/make-secrets.sh [FOLDER]
set -euo pipefail
folder="${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}"
mkdir -p "$folder"
# The folder keeps others on this machine out. The files are readable, because the containers run as other users.
chmod 0700 "$folder"

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep() { [[ -s "$folder/$1" ]] || printf '%s' "$2" >"$folder/$1"; }

keep postgres_password "$(random)"
keep database_url "postgres://mailtrail:$(<"$folder/postgres_password")@postgres:5432/mailtrail"
keep clickhouse_password "$(random)"
keep clickhouse_read_password "$(random)"
keep s3_access_key_id "mailtrail"
keep s3_secret_access_key "$(random)"
keep grafana_password "$(random)"
keep api_key "$(random)"
keep api_keys "admin:$(printf '%s' "$(<"$folder/api_key")" | sha256sum | cut -d ' ' -f 1):ingest+read+admin"
chmod 0444 "$folder"/*
echo "Secrets are in $folder. The key for the HTTP interface is in $folder/api_key:"
echo "  curl -H \"Authorization: Bearer \$(cat $folder/api_key)\" http://127.0.0.1:7489/api/v1/status"
