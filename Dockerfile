# mailtrail as an image. Debian, not Alpine: the embedded store (chDB) needs glibc. Nothing in it needs a shell, a
# package manager or a writable root at run time: data goes to /var/lib/mailtrail, a volume.

FROM node:24.21.0-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# No package that mailtrail needs has an install script; the one that has (it brings Node along) is for clones.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY . .
RUN node build.mjs

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production
ENV MAILTRAIL_DATA=/var/lib/mailtrail
ENV MAILTRAIL_LISTEN=0.0.0.0:7489
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json mailtrail.mjs LICENSE NOTICE ./
COPY samples ./samples
RUN install -d -o 1000 -g 1000 -m 0750 /var/lib/mailtrail
USER 1000:1000
VOLUME /var/lib/mailtrail
EXPOSE 7489
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MAILTRAIL_LISTEN.split(':').pop()}/health/live`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/mailtrail.mjs"]
CMD ["up"]
