// The exchange through Google's client for Node, which reads the contract itself.
//
// usage: node client.js HOST:PORT FOLDER-OF-THE-CONTRACT

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import path from 'node:path'

import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'
import * as jose from 'jose'

const [address, contract] = process.argv.slice(2)
const AGENCY = 'agencies/node'
const PLATFORM = 'platforms/node'
const ANALYST = 'oversightBodies/node'
const SECONDS = 20

const packages = grpc.loadPackageDefinition(
  loader.loadSync(
    [
      'portreeve/referral/v1/organisation_service.proto',
      'portreeve/referral/v1/referral_service.proto',
      'portreeve/referral/v1/signing_service.proto',
      'portreeve/decision/v1/decision_service.proto',
      'portreeve/reporting/v1/reporting_service.proto',
      'google/rpc/status.proto',
      'google/rpc/error_details.proto',
    ],
    {
      includeDirs: [contract, path.join(contract, 'third_party')],
      keepCase: true,
      longs: Number,
      enums: String,
      defaults: true,
      oneofs: true,
    },
  ),
)
const { referral, decision, reporting } = packages.portreeve
const client = (Service) => new Service(address, grpc.credentials.createInsecure())
const organisations = client(referral.v1.OrganisationService)
const referrals = client(referral.v1.ReferralService)
const signing = client(referral.v1.SigningService)
const decisions = client(decision.v1.DecisionService)
const reports = client(reporting.v1.ReportingService)

function acting(organisation) {
  const metadata = new grpc.Metadata()
  metadata.set('portreeve-organisation', organisation)
  return [metadata, { deadline: Date.now() + SECONDS * 1000 }]
}

function call(service, method, organisation, request) {
  return new Promise((resolve, reject) => {
    service[method](request, ...acting(organisation), (error, reply) => (error ? reject(error) : resolve(reply)))
  })
}

// The details of an error, by the last part of their type's name.
function details(error) {
  const decode = (type, bytes) => packages.google.rpc[type].deserialize(bytes)
  const [bytes] = error.metadata.get('grpc-status-details-bin')
  const found = {}
  for (const { type_url: url, value } of decode('Status', bytes).details) {
    const type = url.split('.').at(-1)
    found[type] = decode(type, value)
  }
  return found
}

async function refused(calling) {
  try {
    await calling
  } catch (error) {
    return { code: error.code, ...details(error) }
  }
  assert.fail('the call was not refused')
}

const draft = (page) => ({
  platform: PLATFORM,
  target: { kind: 'TARGET_KIND_GROUP', url: `https://groups.node.example/${page}` },
  nature: 'REFERRAL_NATURE_STATUTORY_NOTICE',
  ground: 'GROUND_FORGED_DOCUMENTS',
  legal_basis: { statute: 'Modern Slavery Act 2015', section: 's. 2' },
  statement_of_reasons: 'Sells forged papers.',
  statement_language: 'en',
})

for (const [name, kind] of [
  [AGENCY, 'ORGANISATION_KIND_AGENCY'],
  [PLATFORM, 'ORGANISATION_KIND_PLATFORM'],
  [ANALYST, 'ORGANISATION_KIND_OVERSIGHT_BODY'],
]) {
  const reply = await call(organisations, 'CreateOrganisation', 'operators/local', {
    organisation_id: name.split('/')[1],
    organisation: { display_name: 'Node', kind, hosts: name === PLATFORM ? ['node.example'] : [] },
    request_id: randomUUID(),
  })
  assert.equal(reply.organisation.name, name)
}

// Everything that is wrong is told at once.
const wrong = { ...draft('bad'), statement_language: 'no language', platform: 'platforms/nowhere' }
const refusal = await refused(
  call(referrals, 'CreateReferral', AGENCY, { parent: AGENCY, referral: { ...wrong, ground: 0 }, request_id: randomUUID() }),
)
assert.equal(refusal.code, grpc.status.INVALID_ARGUMENT)
assert.equal(refusal.ErrorInfo.reason, 'REQUEST_INVALID')
const fields = refusal.BadRequest.field_violations.map((violation) => violation.field)
assert.deepEqual(fields.sort(), ['referral.ground', 'referral.statement_language'])
const missing = await refused(
  call(referrals, 'CreateReferral', AGENCY, {
    parent: AGENCY,
    referral: { ...draft('bad'), platform: 'platforms/nowhere' },
    request_id: randomUUID(),
  }),
)
assert.deepEqual([missing.code, missing.ErrorInfo.reason], [grpc.status.NOT_FOUND, 'ORGANISATION_NOT_FOUND'])

const sent = await call(referrals, 'CreateReferral', AGENCY, {
  parent: AGENCY,
  referral: draft('one'),
  request_id: randomUUID(),
})

// The inbox, until the referral comes in.
let name
let token
const stream = decisions.WatchCases({ parent: PLATFORM, start: { earliest: true } }, ...acting(PLATFORM))
for await (const message of stream) {
  token = message.resume_token
  name = message.changes.find((change) => change.opened?.referral === sent.referral.name)?.opened.name
  if (name) break
}
stream.cancel()

// A decision before the receipt is refused; after it, it is not.
const decided = {
  parent: name,
  decision: {
    kind: 'DECISION_KIND_INITIAL',
    outcome: 'OUTCOME_NO_ACTION_CANNOT_ACCESS',
    cannot_access: 'ACCESS_OBSTACLE_CLOSED_GROUP',
    decided_by: 'DECISION_SOURCE_HUMAN',
  },
  request_id: randomUUID(),
}
const early = await refused(call(decisions, 'RecordDecision', PLATFORM, { ...decided, request_id: randomUUID() }))
assert.deepEqual([early.code, early.ErrorInfo.reason], [grpc.status.FAILED_PRECONDITION, 'INVALID_TRANSITION'])
const receipts = await call(decisions, 'AcknowledgeCases', PLATFORM, {
  parent: PLATFORM,
  names: [name],
  request_id: randomUUID(),
})
assert.equal(receipts.results[0].result, 'receipt')
const recorded = await call(decisions, 'RecordDecision', PLATFORM, decided)
assert.equal(recorded.decision.version, 1)
const again = await call(decisions, 'RecordDecision', PLATFORM, decided)
assert.deepEqual(again, { ...recorded, replayed: true })

// The stream goes on where it was left.
const seen = []
const resumed = decisions.WatchCases({ parent: PLATFORM, start: { resume_token: token } }, ...acting(PLATFORM))
for await (const message of resumed) {
  seen.push(...message.changes.map((change) => change.change))
  if (seen.includes('decided')) break
}
resumed.cancel()
assert.deepEqual(seen, ['acknowledged', 'decided'])

const { report } = await call(reports, 'QueryReport', ANALYST, {
  definition: {
    cohort_from_date: '2020-01-01',
    cohort_until_date: '2199-12-31',
    as_of_date: '2199-12-31',
    dimensions: ['DIMENSION_DISPOSITION'],
    filter: { platforms: [PLATFORM] },
  },
  at_least: [sent.revision, recorded.revision],
})
assert.equal(report.total.counts.referred, 1)
assert.equal(report.total.counts.other, 1)
assert.equal(report.rows.length, 1)

// A referral that another library than the server's signs, and its case, which that library verifies.
const canonical = (said, agency) => {
  const members = {
    type: 'portreeve.referral.v1.ReferralDraft',
    agency,
    platform: said.platform,
    target_kind: said.target.kind,
    url: said.target.url,
    native_id: said.target.native_id ?? '',
    nature: said.nature,
    ground: said.ground,
    legal_basis_code: said.legal_basis.code ?? '',
    legal_basis_statute: said.legal_basis.statute,
    legal_basis_section: said.legal_basis.section,
    statement_of_reasons: said.statement_of_reasons,
    statement_language: said.statement_language,
    content_language: said.content_language ?? '',
    occurred_at: '',
  }
  // RFC 8785, which for an object of texts is JSON with sorted names.
  return new TextEncoder().encode(JSON.stringify(members, Object.keys(members).sort()))
}
const pair = await jose.generateKeyPair('EdDSA', { extractable: true })
const { x } = await jose.exportJWK(pair.publicKey)
await call(signing, 'AddSigningKey', AGENCY, {
  parent: AGENCY,
  kid: 'node',
  signing_key: {
    public_key: jose.base64url.decode(x),
    valid_until: { seconds: Math.floor(Date.now() / 1000) + 86_400 },
  },
  request_id: randomUUID(),
})
const said = { ...draft('signed'), statement_of_reasons: 'Offers "crossings" \u2014 caf\u00e9,\n\u{1f6a2}' }
const jws = await new jose.CompactSign(canonical(said, AGENCY))
  .setProtectedHeader({ alg: 'EdDSA', kid: 'node', iat: Math.floor(Date.now() / 1000) })
  .sign(pair.privateKey)
said.signature = { jws: jws.replace(/[.].*[.]/, '..') }
const create = (referral) =>
  call(referrals, 'CreateReferral', AGENCY, { parent: AGENCY, referral, request_id: randomUUID() })
const signed = await create(said)
const { case: received } = await call(decisions, 'GetCase', PLATFORM, {
  name: `${PLATFORM}/cases/${signed.referral.name.split('/').at(-1)}`,
  at_least: [signed.revision],
})
const { profile } = await call(signing, 'GetSigningProfile', PLATFORM, { name: `${AGENCY}/signingProfile` })
const key = await jose.importJWK({
  kty: 'OKP',
  crv: 'Ed25519',
  alg: 'EdDSA',
  x: jose.base64url.encode(profile.keys[0].public_key),
})
const payload = jose.base64url.encode(canonical(received, received.agency))
await jose.compactVerify(received.signature.jws.replace('..', `.${payload}.`), key)
const forged = await refused(create({ ...said, statement_of_reasons: `${said.statement_of_reasons}.` }))
assert.deepEqual([forged.code, forged.ErrorInfo.reason], [grpc.status.INVALID_ARGUMENT, 'SIGNATURE_INVALID'])
