/**
 * For each sender of the shipped rules: sources that it must be named for, and look-alikes that it must not be. A fact is
 * written as `kind value`: the forward-confirmed name of the source (`ptr`) or one that is not confirmed, the domain of a
 * DKIM or SPF result that passed or did not, the number of the network, the address.
 */
export const factKinds = ['ptr', 'unconfirmed', 'dkim', 'dkim-fail', 'spf', 'spf-fail', 'asn', 'ip'] as const
export type Fact = `${(typeof factKinds)[number]} ${string}`

export interface SenderFixture {
  readonly is: readonly Fact[]
  readonly isNot: readonly Fact[]
}

export const defaultSenders: Readonly<Record<string, SenderFixture>> = {
  'google-groups': {
    is: ['dkim googlegroups.com', 'spf googlegroups.com'],
    isNot: ['dkim-fail googlegroups.com', 'dkim mygooglegroups.com'],
  },
  'groups-io': {
    is: ['ptr web01.groups.io', 'dkim groups.io', 'spf groups.io'],
    isNot: ['ptr groups.io.evil.example', 'spf-fail groups.io'],
  },
  topicbox: {
    is: ['dkim topicbox.com', 'spf bounces.topicbox.com'],
    isNot: ['ptr mytopicbox.com', 'unconfirmed mail.topicbox.com'],
  },
  freelists: { is: ['ptr turing.freelists.org', 'spf freelists.org'], isNot: ['ptr notfreelists.org'] },
  jiscmail: {
    is: ['spf jiscmail.ac.uk', 'dkim jiscmail.ac.uk'],
    isNot: ['spf jiscmail.ac.uk.example.org', 'spf ac.uk'],
  },
  'kernel-lists': {
    is: ['ptr sy.mirrors.kernel.org', 'ptr sto.lore.kernel.org', 'spf vger.kernel.org', 'spf lists.linux.dev'],
    isNot: ['ptr nyc.source.kernel.org', 'unconfirmed vger.kernel.org', 'spf linux.dev'],
  },
  'infradead-lists': {
    is: ['ptr bombadil.infradead.org', 'spf lists.infradead.org', 'dkim lists.infradead.org'],
    isNot: ['spf infradead.org', 'unconfirmed bombadil.infradead.org'],
  },
  'ozlabs-lists': {
    is: ['ptr lists.ozlabs.org', 'spf lists.ozlabs.org'],
    isNot: ['ptr ozlabs.org', 'spf-fail lists.ozlabs.org'],
  },
  'sourceware-lists': { is: ['ptr server2.sourceware.org', 'spf sourceware.org'], isNot: ['ptr opensourceware.org'] },
  'gnu-lists': {
    is: ['ptr lists.gnu.org', 'spf gnu.org', 'spf nongnu.org'],
    isNot: ['ptr notgnu.org', 'spf gnu.org.example.net'],
  },
  'debian-lists': {
    is: ['ptr bendel.debian.org', 'spf lists.debian.org'],
    isNot: ['spf debian.org', 'ptr mydebian.org'],
  },
  'fedora-lists': {
    is: ['ptr bastion-iad01.fedoraproject.org', 'spf lists.fedoraproject.org'],
    isNot: ['spf fedoraproject.org', 'unconfirmed bastion.fedoraproject.org'],
  },
  'freebsd-lists': {
    is: ['ptr mx2.freebsd.org', 'dkim freebsd.org', 'spf freebsd.org'],
    isNot: ['dkim-fail freebsd.org', 'ptr mx2-freebsd.org'],
  },
  'freedesktop-lists': {
    is: ['ptr gabe.freedesktop.org', 'spf lists.freedesktop.org'],
    isNot: ['spf gitlab.freedesktop.org'],
  },
  'apache-lists': {
    is: ['ptr mxout1-he-de.apache.org', 'spf kafka.apache.org'],
    isNot: ['ptr apache.org.evil.example', 'dkim-fail apache.org'],
  },
  'python-lists': { is: ['ptr mail.python.org', 'spf python.org', 'dkim python.org'], isNot: ['ptr pypython.org'] },
  'ietf-lists': {
    is: ['ptr mail2.ietf.org', 'spf ietf.org', 'dkim ietf.org'],
    isNot: ['ptr ietf.org.evil.example', 'unconfirmed mail.ietf.org'],
  },
  'w3c-lists': { is: ['ptr lisa.w3.org', 'spf listhub.w3.org'], isNot: ['ptr www3.org', 'spf-fail w3.org'] },
  'sourceforge-lists': {
    is: ['ptr lists.sourceforge.net', 'dkim sourceforge.net', 'dkim sf.net', 'spf lists.sourceforge.net'],
    isNot: ['ptr notlists-sourceforge.net', 'ptr web.sourceforge.net'],
  },
  'cloudflare-email-routing': {
    is: ['ptr i-bie.email.cloudflare.net', 'dkim cloudflare-email.net', 'ip 104.30.8.184', 'ip 2405:8100:c000::7'],
    isNot: ['ptr cloudflare.net', 'ip 104.30.32.1', 'ip 104.29.255.255', 'ip 2405:8100::1'],
  },
  'forward-email': {
    is: ['ptr mx1.forwardemail.net', 'spf forwardemail.net', 'dkim forwardemail.net'],
    isNot: ['ptr myforwardemail.net', 'spf-fail forwardemail.net'],
  },
  improvmx: { is: ['ptr mx1.improvmx.com', 'spf improvmx.com'], isNot: ['ptr improvmx.com.evil.example'] },
  pobox: {
    is: ['ptr pb-smtp1.pobox.com', 'spf bounce2.pobox.com', 'dkim pobox.com'],
    isNot: ['ptr mypobox.com', 'dkim-fail pobox.com'],
  },
  simplelogin: {
    is: ['ptr mail-200164.simplelogin.co', 'dkim simplelogin.co'],
    isNot: ['dkim simplelogin.co.uk', 'ptr simplelogin.company.example'],
  },
  'addy-io': {
    is: ['ptr mail2.anonaddy.com', 'dkim addy.io', 'dkim anonaddy.me'],
    isNot: ['dkim daddy.io', 'unconfirmed mail2.anonaddy.com'],
  },
  'duckduckgo-email': {
    is: ['dkim duck.com', 'ptr smtp-inbound1.duck.com'],
    isNot: ['dkim rubberduck.com', 'dkim-fail duck.com'],
  },
  'firefox-relay': {
    is: ['dkim mozmail.com', 'dkim relay.firefox.com'],
    isNot: ['dkim firefox.com', 'spf-fail mozmail.com'],
  },
  'icloud-hide-my-email': {
    is: ['dkim privaterelay.appleid.com', 'spf privaterelay.appleid.com'],
    isNot: ['dkim appleid.com', 'dkim-fail privaterelay.appleid.com'],
  },
  'namecheap-forwarding': {
    is: ['ptr eforward3.registrar-servers.com'],
    isNot: ['ptr myregistrar-servers.com', 'unconfirmed eforward3.registrar-servers.com'],
  },
  'mit-alumni': { is: ['spf alum.mit.edu', 'dkim alum.mit.edu'], isNot: ['spf mit.edu', 'spf-fail alum.mit.edu'] },
  'iki-fi': { is: ['ptr lahtoruutu.iki.fi', 'dkim iki.fi'], isNot: ['ptr wiki.fi', 'dkim-fail iki.fi'] },
  'govuk-notify': {
    is: ['dkim notifications.service.gov.uk'],
    isNot: ['dkim service.gov.uk', 'dkim-fail notifications.service.gov.uk'],
  },
  'granicus-govdelivery': {
    is: ['ptr mailer151101.service.govdelivery.com', 'dkim govdelivery.com', 'spf public.govdelivery.com'],
    isNot: ['ptr notgovdelivery.com', 'unconfirmed mailer.govdelivery.com'],
  },
  zendesk: {
    is: ['ptr outbyoip12.pod17.usw2.zdsys.com', 'dkim zendesk.com', 'spf acme.zendesk.com', 'asn 21880', 'asn 61186'],
    isNot: ['ptr zdsys.com.evil.example', 'asn 21881'],
  },
  freshworks: {
    is: ['dkim freshdesk.com', 'dkim freshemail.io', 'spf acme.freshdesk.com'],
    isNot: ['dkim refreshdesk.com', 'dkim-fail freshdesk.com'],
  },
  intercom: {
    is: ['dkim intercom-mail.com', 'spf outbound.intercom.io'],
    isNot: ['dkim myintercom.io', 'spf-fail intercom-mail.com'],
  },
  'help-scout': {
    is: ['ptr smtp-out1.helpscout.net', 'dkim helpscout.net', 'dkim helpscoutemail.com'],
    isNot: ['ptr helpscout.net.evil.example'],
  },
  atlassian: {
    is: ['dkim atlassian.net', 'spf acme.atlassian.net'],
    isNot: ['dkim notatlassian.net', 'dkim-fail atlassian.net'],
  },
  shopify: {
    is: ['dkim shopifyemail.com', 'dkim shopify.com'],
    isNot: ['dkim myshopify.com', 'spf-fail shopifyemail.com'],
  },
  squarespace: {
    is: ['dkim squarespace-mail.com', 'spf squarespace-mail.com'],
    isNot: ['dkim squarespace-mail.com.evil.example'],
  },
  stripe: { is: ['dkim stripe.com', 'spf bounce.stripe.com'], isNot: ['dkim pinstripe.com', 'dkim-fail stripe.com'] },
  square: { is: ['dkim squareup.com', 'spf messaging.squareup.com'], isNot: ['dkim notsquareup.com'] },
  paypal: {
    is: ['ptr mx1.phx.paypal.com', 'dkim paypal.com', 'spf paypal.com', 'asn 17012'],
    isNot: [
      'ptr paypal.com.evil.example',
      'dkim-fail paypal.com',
      'unconfirmed mx1.phx.paypal.com',
      'dkim mypaypal.com',
    ],
  },
  docusign: {
    is: ['ptr mailch.docusign.net', 'dkim docusign.net', 'asn 62856'],
    isNot: ['dkim docusign.net.evil.example', 'unconfirmed mailch.docusign.net'],
  },
  eventbrite: { is: ['dkim eventbrite.com', 'dkim event.eventbrite.com'], isNot: ['dkim myeventbrite.com'] },
  cvent: {
    is: ['ptr mail12.cvent-planner.com', 'spf cvtsv.com', 'dkim cvent-planner.com'],
    isNot: ['ptr notcvtsv.com', 'spf-fail cvent-planner.com'],
  },
  zoom: { is: ['dkim zoom.us', 'spf zoom.us'], isNot: ['dkim myzoom.us', 'dkim-fail zoom.us'] },
  surveymonkey: {
    is: ['dkim surveymonkey.com', 'spf bounce.surveymonkey.com', 'dkim surveymonkeyuser.com'],
    isNot: ['dkim surveymonkey.com.evil.example'],
  },
  qualtrics: {
    is: ['ptr mail-1.qemailserver.com', 'spf qemailserver.com', 'dkim qemailserver.com'],
    isNot: ['ptr notqemailserver.com'],
  },
  servicenow: {
    is: ['ptr outbound21.service-now.com', 'dkim service-now.com', 'spf service-now.com'],
    isNot: ['ptr my-service-now.com', 'unconfirmed outbound21.service-now.com'],
  },
  workday: {
    is: ['ptr mail12.myworkday.com', 'spf myworkday.com'],
    isNot: ['ptr notmyworkday.com', 'spf-fail myworkday.com'],
  },
  'sap-successfactors': {
    is: ['ptr mailsf4.successfactors.com', 'spf successfactors.eu'],
    isNot: ['ptr mysuccessfactors.com'],
  },
  'sap-concur': {
    is: ['ptr mail5.concursolutions.com', 'dkim concursolutions.com'],
    isNot: ['ptr concursolutions.com.evil.example'],
  },
  'sap-ariba': {
    is: ['ptr mail1.ansmtp.ariba.com', 'spf ansmtp.ariba.com'],
    isNot: ['spf ariba.com', 'spf-fail ansmtp.ariba.com'],
  },
  'sap-emarsys': {
    is: ['ptr uspmta167011.emsmtp.com', 'spf xpressus.emsmtp.com', 'dkim emarsys.net', 'asn 199236'],
    isNot: ['ptr notemsmtp.com', 'asn 199237'],
  },
  'oracle-netsuite': {
    is: ['ptr mail70.sent-via.netsuite.com', 'spf sent-via.netsuite.com'],
    isNot: ['ptr mynetsuite.com', 'unconfirmed mail70.sent-via.netsuite.com'],
  },
  'oracle-eloqua': {
    is: ['ptr mail.s1234.en25.com', 'spf bounce.en25.com'],
    isNot: ['ptr green25.com', 'spf-fail en25.com'],
  },
  'oracle-responsys': {
    is: ['ptr mail1.responsys.net', 'spf responsys.net'],
    isNot: ['ptr responsys.net.evil.example'],
  },
  'oci-email-delivery': {
    is: ['ptr aib29agh126.zrh1.oracleemaildelivery.com', 'spf eu.rp.oracleemaildelivery.com'],
    isNot: ['ptr notoracleemaildelivery.com', 'ptr compute-1.oraclecloud.com'],
  },
  'adobe-marketo': {
    is: ['ptr em-sj-77.mktomail.com', 'spf em-sj-77.mktomail.com'],
    isNot: ['ptr notmktomail.com', 'spf-fail mktomail.com'],
  },
  'adobe-campaign': {
    is: ['ptr r67.acme.mail.neolane.net', 'spf neolane.net'],
    isNot: ['ptr neolane.network.example'],
  },
  'azure-communication-services': {
    is: ['dkim 1f2e.azurecomm.net', 'spf azurecomm.net'],
    isNot: ['dkim notazurecomm.net', 'ptr vm1.westeurope.cloudapp.azure.com'],
  },
  'dynamics-365-marketing': { is: ['ptr mail1.pb-dynmktge.com', 'spf pb-dynmktge.com'], isNot: ['ptr dynmktge.com'] },
  blackbaud: { is: ['ptr mail1.blackbaud.net', 'dkim blackbaud.com'], isNot: ['ptr notblackbaud.net'] },
  knowbe4: {
    is: ['ptr psm.knowbe4.com', 'spf psm.knowbe4.com'],
    isNot: ['ptr psm-knowbe4.com', 'unconfirmed psm.knowbe4.com'],
  },
  'salesforce-account-engagement': {
    is: ['ptr mail1.pd25.com', 'dkim pardot.com'],
    isNot: ['ptr pd25.com.evil.example', 'dkim leopardot.com'],
  },
  'salesforce-marketing-cloud': {
    is: ['ptr mta.s7.exacttarget.com', 'spf bounce.s7.exacttarget.com', 'asn 22606'],
    isNot: ['ptr notexacttarget.com', 'spf-fail exacttarget.com'],
  },
  salesforce: {
    is: ['ptr smtp02-ia4-sp1.mta.salesforce.com', 'spf na150.bnc.salesforce.com'],
    isNot: ['ptr notsalesforce.com', 'unconfirmed smtp02.mta.salesforce.com'],
  },
  hubspot: {
    is: ['ptr bid0023.hubspotemail.net', 'spf bf10.hubspotemail.net', 'dkim hubspot.com'],
    isNot: ['ptr hubspotemail.net.evil.example', 'dkim-fail hubspotemail.net'],
  },
  klaviyo: { is: ['dkim klaviyomail.com', 'spf send.klaviyomail.com'], isNot: ['dkim notklaviyomail.com'] },
  activecampaign: {
    is: ['spf s1.emsd1.com', 'dkim acems1.com', 'dkim acme.activehosted.com'],
    isNot: ['spf notemsd1.com', 'dkim-fail acems1.com'],
  },
  'customer-io': {
    is: ['ptr e209-6.customeriomail.com', 'dkim customeriomail.com'],
    isNot: ['ptr notcustomeriomail.com'],
  },
  kit: {
    is: ['dkim convertkit-mail.com', 'spf convertkit-mail2.com'],
    isNot: ['dkim convertkit-mail.com.evil.example'],
  },
  drip: { is: ['dkim dripemail2.com', 'spf dripemail2.com'], isNot: ['dkim mydripemail2.com'] },
  mandrill: {
    is: ['ptr mail133-27.atl131.mandrillapp.com', 'dkim mandrillapp.com', 'spf mandrillapp.com'],
    isNot: ['ptr notmandrillapp.com', 'dkim-fail mandrillapp.com'],
  },
  mailchimp: {
    is: ['ptr mail32.atl111.rsgsv.net', 'ptr mail1.suw11.mcdlv.net', 'spf mail77.atl51.mcsv.net', 'asn 14782'],
    isNot: ['ptr mail32.notrsgsv.net', 'unconfirmed mail32.atl111.rsgsv.net'],
  },
  'constant-contact': {
    is: ['ptr ccm27.constantcontact.com', 'dkim auth.ccsend.com', 'spf in.constantcontact.com', 'asn 40444'],
    isNot: ['dkim authccsend.com', 'spf-fail in.constantcontact.com'],
  },
  'campaign-monitor': {
    is: ['ptr mx31.e.cmail20.com', 'spf cmail19.com', 'dkim createsend.com', 'asn 55819'],
    isNot: ['ptr cmail3.com', 'ptr hotcmail20.com'],
  },
  brevo: {
    is: [
      'ptr gf.d.sender-sib.com',
      'ptr cp.d.mailin.fr',
      'dkim sendinblue.com',
      'dkim acme.brevosend.com',
      'spf brevo.com',
      'asn 200484',
    ],
    isNot: ['ptr mymailin.fr', 'dkim-fail sendinblue.com'],
  },
  mailjet: {
    is: ['ptr o1.p8.mailjet.com', 'spf bnc3.mailjet.com', 'asn 200069'],
    isNot: ['ptr mailjet.com.evil.example', 'unconfirmed o1.p8.mailjet.com'],
  },
  mailerlite: { is: ['ptr mta1.mlsend.com', 'spf mlsend.com', 'dkim mailerlite.com'], isNot: ['ptr notmlsend.com'] },
  mailersend: {
    is: ['spf mailersend.net', 'dkim mailersend.net'],
    isNot: ['spf notmailersend.net', 'spf-fail mailersend.net'],
  },
  getresponse: {
    is: ['ptr mta-82.gamma.getresponse-mail.com', 'dkim getresponse-mail.com', 'asn 198881'],
    isNot: ['ptr response-mail.com', 'unconfirmed mta-82.gamma.getresponse-mail.com'],
  },
  aweber: { is: ['ptr mailer1.aweber.com', 'dkim send.aweber.com'], isNot: ['ptr notaweber.com'] },
  moosend: { is: ['ptr mx1.mailendo.com', 'spf mailendo.com'], isNot: ['ptr mailendo.com.evil.example'] },
  cleverreach: { is: ['ptr mta1.crsend.com', 'spf crsend.com'], isNot: ['ptr notcrsend.com', 'spf-fail crsend.com'] },
  rapidmail: { is: ['ptr mta1.emailsys.net', 'spf emailsys.net'], isNot: ['ptr notemailsys.net'] },
  inxmail: { is: ['ptr mta1.inxserver.de', 'spf inxserver.de'], isNot: ['ptr inxserver.de.evil.example'] },
  mailup: { is: ['ptr mta1.musvc.com', 'spf musvc.com'], isNot: ['ptr notmusvc.com'] },
  dotdigital: {
    is: ['dkim r1.dotdigital-email.com', 'spf r1.dotdigital-email.com'],
    isNot: ['dkim my-dotdigital-email.com'],
  },
  pure360: { is: ['ptr mta1.pur3.net', 'spf pur3.net'], isNot: ['ptr notpur3.net'] },
  poppulo: { is: ['ptr mail1.nw007.com', 'ptr mail1.nw027.com'], isNot: ['ptr nw017.com'] },
  'benchmark-email': { is: ['ptr mail1.bmsend.com', 'dkim bmsend.com'], isNot: ['ptr notbmsend.com'] },
  emma: { is: ['ptr mail1.e2ma.net', 'spf e2ma.net'], isNot: ['ptr me2ma.net'] },
  listrak: { is: ['ptr mail1.listrak.com', 'asn 394396'], isNot: ['ptr notlistrak.com', 'asn 394397'] },
  netcore: { is: ['ptr mta1.pepitrans01.com', 'spf pepitrans02.com'], isNot: ['ptr pepitrans03.com'] },
  'elastic-email': {
    is: ['dkim elasticemail.com', 'spf bounces.elasticemail.net'],
    isNot: ['dkim myelasticemail.com', 'dkim-fail elasticemail.com'],
  },
  smtp2go: {
    is: ['ptr e2i650.smtp2go.com', 'dkim smtpcorp.com', 'spf return.smtp2go.net'],
    isNot: ['ptr smtp2go.com.evil.example', 'dkim mysmtpcorp.com'],
  },
  socketlabs: { is: ['ptr mxr1.email-od.com', 'dkim email-od.com', 'asn 53658'], isNot: ['ptr myemail-od.com'] },
  'smtp-com': {
    is: ['ptr sendergen.smtp.com', 'spf smtp.com'],
    isNot: ['ptr mysmtp.com', 'ptr smtp.com.evil.example'],
  },
  'zoho-campaigns': { is: ['ptr mx1.zcsend.net', 'spf zcsend.net'], isNot: ['spf notzcsend.net'] },
  zeptomail: {
    is: ['spf bounce.zeptomail.com', 'dkim zeptomail.net', 'spf transmail.net'],
    isNot: ['spf notzeptomail.com'],
  },
  'alibaba-directmail': {
    is: ['ptr out208-121.dm.aliyun.com', 'spf dm.aliyun.com'],
    isNot: ['ptr admin.aliyun.com', 'unconfirmed out208-121.dm.aliyun.com'],
  },
  postmark: {
    is: ['ptr mta42a.ord.mtasv.net', 'spf pm.mtasv.net', 'dkim pm.mtasv.net'],
    isNot: ['ptr notmtasv.net', 'spf-fail pm.mtasv.net'],
  },
  sparkpost: {
    is: ['ptr mta-1.sparkpostmail.com', 'dkim sparkpostmail.com', 'asn 23528'],
    isNot: ['ptr mysparkpostmail.com', 'asn 23529'],
  },
  mailgun: {
    is: ['ptr m42-5.mailgun.net', 'ptr m1.mailgun.us', 'ptr m1.mailgun.info', 'dkim mailgun.org', 'asn 396479'],
    isNot: ['ptr mymailgun.net', 'dkim-fail mailgun.org'],
  },
  sendgrid: {
    is: [
      'ptr o1.ptr1234.outbound-mail.sendgrid.net',
      'dkim sendgrid.net',
      'dkim sendgrid.info',
      'spf em1234.sendgrid.net',
      'asn 11377',
    ],
    isNot: ['ptr o1.em.notsendgrid.net', 'unconfirmed o1.sendgrid.net', 'dkim-fail sendgrid.net', 'asn 11378'],
  },
  'amazon-ses': {
    is: ['ptr a9-92.smtp-out.amazonses.com', 'dkim amazonses.com', 'spf eu-west-1.amazonses.com'],
    isNot: [
      'ptr ec2-54-240-9-92.compute-1.amazonaws.com',
      'ptr notamazonses.com',
      'dkim-fail amazonses.com',
      'asn 16509',
    ],
  },
  proofpoint: {
    is: ['ptr mx0a-001b2d01.pphosted.com', 'ptr mx1-us1.ppe-hosted.com', 'ptr mx1.gpphosted.com', 'asn 26211'],
    isNot: ['ptr mx0a.notpphosted.com', 'unconfirmed mx0a-001b2d01.pphosted.com', 'dkim pphosted.com'],
  },
  mimecast: {
    is: ['ptr us-smtp-delivery-124.mimecast.com', 'ptr za-smtp-1.mimecast.co.za', 'asn 30031'],
    isNot: ['ptr mimecast.com.evil.example', 'spf mimecast.com'],
  },
  'cisco-secure-email': {
    is: ['ptr esa6.hc1234-56.iphmx.com', 'asn 16417'],
    isNot: ['ptr notiphmx.com', 'unconfirmed esa6.hc1234-56.iphmx.com'],
  },
  barracuda: {
    is: ['ptr outbound-ip191a.ess.barracuda.com'],
    isNot: ['ptr www.barracuda.com', 'ptr ess-barracuda.com'],
  },
  'symantec-email-security': {
    is: ['ptr mail1.bemta32.messagelabs.com'],
    isNot: ['ptr notmessagelabs.com', 'unconfirmed mail1.bemta32.messagelabs.com'],
  },
  'trend-micro': {
    is: ['ptr repost01.tmes.trendmicro.eu', 'ptr outbound.tmes.trendmicro.com'],
    isNot: ['ptr mytrendmicro.com'],
  },
  sophos: {
    is: ['ptr mf-out-1.prod.hydra.sophos.com'],
    isNot: ['ptr www.sophos.com', 'ptr hydra.sophos.com.evil.example'],
  },
  hornetsecurity: {
    is: ['ptr mx-relay97-hz2.antispameurope.com', 'ptr relay1.hornetsecurity.com'],
    isNot: ['ptr notantispameurope.com'],
  },
  forcepoint: { is: ['ptr cluster-a.mailcontrol.com'], isNot: ['ptr mymailcontrol.com'] },
  'appriver-zix': { is: ['ptr server506.appriver.com', 'ptr mail1.smtp25.com'], isNot: ['ptr myappriver.com'] },
  trellix: { is: ['ptr mx1.fireeyecloud.com', 'ptr mx1.fireeyegov.com'], isNot: ['ptr fireeyecloud.com.evil.example'] },
  'check-point-harmony': { is: ['ptr mta-1.cloud-sec-av.com'], isNot: ['ptr my-cloud-sec-av.com'] },
  'n-able-mail-assure': {
    is: ['ptr out1.antispamcloud.com', 'ptr out1.mtaroutes.com'],
    isNot: ['ptr notantispamcloud.com'],
  },
  vipre: { is: ['ptr smtp-out1.electric.net'], isNot: ['ptr general-electric.net'] },
  'fortimail-cloud': { is: ['ptr mx1.fortimail.com'], isNot: ['ptr notfortimail.com'] },
  mailinblack: { is: ['ptr mx1.mailinblack.com'], isNot: ['ptr notmailinblack.com'] },
  mailroute: { is: ['ptr 001.lax.mailroute.net'], isNot: ['ptr mymailroute.net'] },
  retarus: { is: ['ptr mailgate1.rmx.de', 'asn 48328'], isNot: ['ptr farmx.de'] },
  'iij-securemx': { is: ['ptr mo1.securemx.jp'], isNot: ['ptr notsecuremx.jp'] },
  paubox: { is: ['ptr mail1.paubox.com'], isNot: ['ptr notpaubox.com'] },
  luxsci: { is: ['ptr rs1.luxsci.com'], isNot: ['ptr notluxsci.com'] },
  duocircle: {
    is: ['ptr outbound1.eu.mailhop.org'],
    isNot: ['ptr mymailhop.org', 'unconfirmed outbound1.eu.mailhop.org'],
  },
  mailchannels: {
    is: ['ptr bongo.relay.mailchannels.net', 'dkim mailchannels.net'],
    isNot: ['ptr notmailchannels.net'],
  },
  'rackspace-email': { is: ['ptr smtp98.iad3a.emailsrvr.com', 'dkim emailsrvr.com'], isNot: ['ptr myemailsrvr.com'] },
  'ovh-mail': {
    is: ['ptr smtpout1.mo3004.mail-out.ovh.net'],
    isNot: ['ptr ns3012345.ip-51-68-1.eu', 'ptr vps-1a2b.vps.ovh.net', 'unconfirmed smtpout1.mo3004.mail-out.ovh.net'],
  },
  'gmx-web-de': {
    is: ['ptr mout.gmx.net', 'ptr mout.web.de', 'dkim gmx.net', 'spf web.de'],
    isNot: ['ptr notgmx.net', 'dkim myweb.de'],
  },
  ionos: {
    is: ['ptr mout.kundenserver.de', 'ptr mout.perfora.net'],
    isNot: ['ptr s123.online.de', 'ptr notkundenserver.de'],
  },
  strato: { is: ['ptr mo4-p00-ob.smtp.rzone.de'], isNot: ['ptr h1234567.stratoserver.net', 'ptr smtp-rzone.de'] },
  godaddy: {
    is: ['ptr p3plsmtpa07-01.prod.phx3.secureserver.net', 'ptr sxb1plsmtpa01-01.prod.sxb1.secureserver.net'],
    isNot: ['ptr ip-160-153-1-1.ip.secureserver.net', 'unconfirmed p3plsmtpa07-01.prod.phx3.secureserver.net'],
  },
  'namecheap-private-email': {
    is: ['ptr mta-10.privateemail.com', 'spf privateemail.com'],
    isNot: ['ptr myprivateemail.com'],
  },
  'opensrs-email': { is: ['ptr smtprelay0012.hostedemail.com'], isNot: ['ptr myhostedemail.com'] },
  siteground: { is: ['ptr delivery1.mailspamprotection.com'], isNot: ['ptr notmailspamprotection.com'] },
  fasthosts: { is: ['ptr smtp1.livemail.co.uk'], isNot: ['ptr mylivemail.co.uk', 'ptr co.uk'] },
  'twenty-i': { is: ['ptr smtp1.stackmail.com'], isNot: ['ptr haystackmail.com'] },
  '123-reg': { is: ['ptr smtp1.mailcore.me'], isNot: ['ptr mymailcore.me'] },
  gandi: { is: ['ptr relay3-d.mail.gandi.net'], isNot: ['ptr xvm-1-2.dc0.ghst.net', 'ptr vps1.gandi.net'] },
  infomaniak: {
    is: ['ptr smtp-190a.mail.infomaniak.ch'],
    isNot: ['ptr ov-1a2b3c.infomaniak.ch', 'unconfirmed smtp-190a.mail.infomaniak.ch'],
  },
  'mailbox-org': { is: ['ptr mout-p-101.mailbox.org', 'dkim mailbox.org'], isNot: ['ptr notmailbox.org'] },
  posteo: { is: ['ptr mout01.posteo.de', 'dkim posteo.net'], isNot: ['ptr notposteo.de'] },
  migadu: { is: ['ptr out-188.mta0.migadu.com', 'asn 202172'], isNot: ['ptr notmigadu.com'] },
  fastmail: {
    is: ['ptr out1-smtp.messagingengine.com', 'dkim messagingengine.com', 'asn 151847'],
    isNot: ['ptr notmessagingengine.com', 'dkim-fail messagingengine.com'],
  },
  proton: {
    is: ['ptr mail-40131.protonmail.ch', 'ptr mail-1.proton.ch', 'dkim protonmail.com', 'dkim pm.me'],
    isNot: ['ptr notprotonmail.ch', 'dkim rpm.me'],
  },
  'zoho-mail': { is: ['ptr sender4-pp-o94.zoho.com', 'dkim zohomail.com', 'spf zoho.eu'], isNot: ['ptr notzoho.com'] },
  yandex: {
    is: ['ptr forward500a.mail.yandex.net', 'dkim yandex.ru'],
    isNot: ['ptr 1.2.3.4.yandexcloud.net', 'ptr fwdproxy1.yandex.net', 'dkim notyandex.ru'],
  },
  'mail-ru': { is: ['ptr fallback1.mail.ru', 'dkim mail.ru'], isNot: ['ptr hotmail.ru', 'ptr gmail.ru'] },
  naver: { is: ['ptr cvsmtppost1.nm.naver.com', 'dkim naver.com'], isNot: ['ptr notnaver.com'] },
  tencent: { is: ['ptr out203-205-221-1.mail.qq.com', 'dkim qq.com', 'spf foxmail.com'], isNot: ['ptr notqq.com'] },
  netease: { is: ['ptr m13-1.163.com', 'dkim 126.com'], isNot: ['ptr 8163.com', 'dkim-fail 163.com'] },
  'alibaba-mail': {
    is: ['ptr out28-74.mail.aliyun.com', 'dkim aliyun.com'],
    isNot: ['ptr ecs1.aliyun.com', 'ptr notaliyun.com'],
  },
  icloud: {
    is: ['ptr mr85p00im-zteg06011501.me.com', 'dkim icloud.com', 'spf mac.com'],
    isNot: ['ptr home.come.com', 'ptr someme.com'],
  },
  yahoo: {
    is: ['ptr sonic302-21.consmr.mail.ne1.yahoo.com', 'dkim aol.com', 'spf yahoo.com'],
    isNot: ['ptr notyahoo.com', 'ptr yahoo.com.evil.example'],
  },
  'google-workspace': {
    is: [
      'ptr mail-wm1-f41.google.com',
      'ptr fra16s50-in-f14.1e100.net',
      'dkim example-org.20230601.gappssmtp.com',
      'spf gmail.com',
    ],
    isNot: [
      'ptr mail-x.google.com.evil.example',
      'ptr notgoogle.com',
      'ptr 4.3.2.1.bc.googleusercontent.com',
      'unconfirmed mail-wm1-f41.google.com',
      'dkim-fail gmail.com',
      'asn 15169',
    ],
  },
  'microsoft-365': {
    is: ['ptr mail-am6eur05on2044.outbound.protection.outlook.com', 'dkim example.onmicrosoft.com', 'spf hotmail.com'],
    isNot: [
      'ptr vm1.westeurope.cloudapp.azure.com',
      'ptr notoutlook.com',
      'unconfirmed mail-am6eur05on2044.outbound.protection.outlook.com',
      'asn 8075',
    ],
  },
}
