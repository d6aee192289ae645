// The exchange as a page in a browser calls it: gRPC-Web over HTTP/1.1 by fetch, through Buf's client.
//
// usage: node client.js URL DESCRIPTORS

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'

const [url, descriptors] = process.argv.slice(2)
const AGENCY = 'agencies/web'
const PLATFORM = 'platforms/web'
const ANALYST = 'oversightBodies/web'

const contract = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)))
const messageType = (name) => contract.getMessage(name)
const enumValue = (type, name) => contract.getEnum(type).values.find((value) => value.name === name).number

// A client that says who acts, as a page of that organisation would.
function client(service, organisation) {
  const acting = (next) => (request) => {
    request.header.set('portreeve-organisation', organisation)
    return next(request)
  }
  const transport = createGrpcWebTransport({ baseUrl: url, interceptors: [acting], defaultTimeoutMs: 20_000 })
  return createClient(contract.getService(service), transport)
}
const organisations = client('portreeve.referral.v1.OrganisationService', 'operators/local')
const referrals = client('portreeve.referral.v1.ReferralService', AGENCY)
const decisions = client('portreeve.decision.v1.DecisionService', PLATFORM)
const reports = client('portreeve.reporting.v1.ReportingService', ANALYST)

async function refused(calling) {
  const error = ConnectError.from(await calling.then(() => assert.fail('the call was not refused'), (error) => error))
  const [info] = error.findDetails(messageType('google.rpc.ErrorInfo'))
  const [request] = error.findDetails(messageType('google.rpc.BadRequest'))
  return { code: error.code, reason: info?.reason, fields: request?.fieldViolations.map(({ field }) => field) }
}

const draft = (page) => ({
  platform: PLATFORM,
  target: { kind: enumValue('portreeve.common.v1.TargetKind', 'TARGET_KIND_VIDEO'), url: `https://web.example/${page}` },
  nature: enumValue('portreeve.common.v1.ReferralNature', 'REFERRAL_NATURE_ORDER'),
  ground: enumValue('portreeve.common.v1.Ground', 'GROUND_REFER_A_FRIEND_INDUCEMENT'),
  legalBasis: { statute: 'Immigration Act 1971', section: 's. 25' },
  statementOfReasons: 'Promises a free place for every friend who comes too.',
  statementLanguage: 'en',
})

// A browser asks first whether a page from elsewhere may call, and must be allowed to read how a call ended.
const preflight = await fetch(`${url}/portreeve.referral.v1.ReferralService/CreateReferral`, {
  method: 'OPTIONS',
  headers: {
    origin: 'http://localhost:5173',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'content-type,x-grpc-web,grpc-timeout,portreeve-organisation',
  },
})
const allowed = (preflight.headers.get('access-control-allow-headers') ?? '').toLowerCase()
assert.ok(preflight.ok, `${preflight.status}`)
for (const header of ['content-type', 'x-grpc-web', 'grpc-timeout', 'portreeve-organisation']) {
  assert.ok(allowed.includes(header), allowed)
}

for (const [name, kind] of [
  [AGENCY, 'ORGANISATION_KIND_AGENCY'],
  [PLATFORM, 'ORGANISATION_KIND_PLATFORM'],
  [ANALYST, 'ORGANISATION_KIND_OVERSIGHT_BODY'],
]) {
  const reply = await organisations.createOrganisation({
    organisationId: name.split('/')[1],
    organisation: {
      displayName: 'Web',
      kind: enumValue('portreeve.referral.v1.OrganisationKind', kind),
      hosts: name === PLATFORM ? ['web.example'] : [],
    },
    requestId: randomUUID(),
  })
  assert.equal(reply.organisation.name, name)
}

const wrong = { ...draft('bad'), target: { ...draft('bad').target, url: 'https://elsewhere.example/' }, statementOfReasons: '' }
const refusal = await refused(referrals.createReferral({ parent: AGENCY, referral: wrong, requestId: 'none' }))
assert.equal(refusal.code, Code.InvalidArgument)
assert.equal(refusal.reason, 'REQUEST_INVALID')
assert.deepEqual(refusal.fields.filter((field) => field !== 'referral.target.url').sort(), [
  'referral.statement_of_reasons',
  'request_id',
])

const sent = await referrals.createReferral({ parent: AGENCY, referral: draft('one'), requestId: randomUUID() })

// The inbox: a stream over HTTP/1.1, left by the page when it has what it waits for.
let name
let token
const start = (at) => ({ start: at })
const first = new AbortController()
for await (const message of decisions.watchCases(
  { parent: PLATFORM, start: start({ case: 'earliest', value: true }) },
  { signal: first.signal },
)) {
  token = message.resumeToken
  const opened = message.changes.map(({ change }) => change).find((change) => change.case === 'opened')
  if (opened?.value.referral === sent.referral.name) {
    name = opened.value.name
    break
  }
}
first.abort()

const receipts = await decisions.acknowledgeCases({ parent: PLATFORM, names: [name], requestId: randomUUID() })
assert.equal(receipts.results[0].result.case, 'receipt')
const recorded = await decisions.recordDecision({
  parent: name,
  decision: {
    kind: enumValue('portreeve.decision.v1.DecisionKind', 'DECISION_KIND_INITIAL'),
    outcome: enumValue('portreeve.decision.v1.Outcome', 'OUTCOME_CLOSED_ILLEGAL'),
    law: 'Immigration Act 1971, s. 25',
    decidedBy: enumValue('portreeve.decision.v1.DecisionSource', 'DECISION_SOURCE_PARTIALLY_AUTOMATED'),
  },
  requestId: randomUUID(),
})
assert.equal(recorded.decision.version, 1)

const seen = []
const second = new AbortController()
for await (const message of decisions.watchCases(
  { parent: PLATFORM, start: start({ case: 'resumeToken', value: token }) },
  { signal: second.signal },
)) {
  seen.push(...message.changes.map(({ change }) => change.case))
  if (seen.includes('decided')) break
}
second.abort()
assert.deepEqual(seen, ['acknowledged', 'decided'])

const definition = {
  cohortFromDate: '2020-01-01',
  cohortUntilDate: '2199-12-31',
  asOfDate: '2199-12-31',
  dimensions: [enumValue('portreeve.reporting.v1.Dimension', 'DIMENSION_PLATFORM')],
  filter: { platforms: [PLATFORM] },
}
const atLeast = [sent.revision, recorded.revision]
const { report } = await reports.queryReport({ definition, atLeast })
assert.deepEqual([report.total.counts.referred, report.total.counts.closed], [1n, 1n])

const parts = []
const format = enumValue('portreeve.reporting.v1.ExportFormat', 'EXPORT_FORMAT_CSV')
for await (const { data } of reports.exportReport({ definition, format, atLeast })) parts.push(data)
const csv = Buffer.concat(parts).toString('utf8')
assert.match(csv, /platforms\/web/)
