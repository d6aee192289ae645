"""The exchange through Google's Python client: generated code, streams, rich errors, health and reflection.

usage: client.py HOST:PORT, with the generated code on PYTHONPATH
"""

import base64
import json
import sys
import time
import uuid

import grpc
import jwt
import pyarrow
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from pyarrow import parquet

from portreeve.common.v1 import vocabulary_pb2 as words
from portreeve.common.v1 import watch_pb2
from portreeve.decision.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc
from portreeve.referral.v1 import organisation_pb2, organisation_service_pb2, organisation_service_pb2_grpc
from portreeve.referral.v1 import referral_pb2, referral_service_pb2, referral_service_pb2_grpc
from portreeve.referral.v1 import signature_pb2, signing_service_pb2, signing_service_pb2_grpc
from portreeve.reporting.v1 import report_pb2, reporting_service_pb2, reporting_service_pb2_grpc

AGENCY, PLATFORM, ANALYST = "agencies/python", "platforms/python", "oversightBodies/python"
SECONDS = 20

channel = grpc.insecure_channel(sys.argv[1])
organisations = organisation_service_pb2_grpc.OrganisationServiceStub(channel)
referrals = referral_service_pb2_grpc.ReferralServiceStub(channel)
signing = signing_service_pb2_grpc.SigningServiceStub(channel)
decisions = decision_service_pb2_grpc.DecisionServiceStub(channel)
reports = reporting_service_pb2_grpc.ReportingServiceStub(channel)


def acting(organisation):
    return {"metadata": (("portreeve-organisation", organisation),), "timeout": SECONDS}


def request_id():
    return str(uuid.uuid4())


def draft(path):
    return referral_pb2.ReferralDraft(
        platform=PLATFORM,
        target=referral_pb2.Target(kind=words.TARGET_KIND_PAGE, url=f"https://python.example/{path}"),
        nature=words.REFERRAL_NATURE_VOLUNTARY_REFERRAL,
        ground=words.GROUND_OFFER_TRANSPORT_SEA,
        legal_basis=referral_pb2.LegalBasis(statute="Immigration Act 1971", section="s. 25"),
        statement_of_reasons="Offers passage in a small boat.",
        statement_language="en",
    )


def refused(call):
    """The refusal of a call, with its details."""
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        details = {}
        for any_detail in status.details:
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
                if any_detail.Is(kind.DESCRIPTOR):
                    details[kind.__name__] = kind.FromString(any_detail.value)
        return error.code(), details
    raise AssertionError("the call was not refused")


def register():
    kinds = {
        AGENCY: organisation_pb2.ORGANISATION_KIND_AGENCY,
        PLATFORM: organisation_pb2.ORGANISATION_KIND_PLATFORM,
        ANALYST: organisation_pb2.ORGANISATION_KIND_OVERSIGHT_BODY,
    }
    for name, kind in kinds.items():
        hosts = ["python.example"] if name == PLATFORM else []
        organisation = organisation_pb2.Organisation(display_name="Python", kind=kind, hosts=hosts)
        reply = organisations.CreateOrganisation(
            organisation_service_pb2.CreateOrganisationRequest(
                organisation_id=name.split("/")[1], organisation=organisation, request_id=request_id()
            ),
            **acting("operators/local"),
        )
        assert reply.organisation.name == name, reply


def refer():
    request = referral_service_pb2.CreateReferralRequest(parent=AGENCY, referral=draft("one"), request_id=request_id())
    reply = referrals.CreateReferral(request, **acting(AGENCY))
    again = referrals.CreateReferral(request, **acting(AGENCY))
    assert not reply.replayed and again.replayed, (reply, again)
    assert (again.referral, again.revision) == (reply.referral, reply.revision)
    return reply


def bring_in():
    items = [
        referral_service_pb2.ImportItem(request_id=request_id(), draft=draft(f"import/{number}")) for number in range(3)
    ]
    items[1].draft.target.url = "javascript:alert(1)"
    messages = iter([
        referral_service_pb2.ImportReferralsRequest(parent=AGENCY, items=items[:2]),
        referral_service_pb2.ImportReferralsRequest(items=items[2:]),
    ])
    results = [r for reply in referrals.ImportReferrals(messages, **acting(AGENCY)) for r in reply.results]
    assert [result.index for result in results] == [0, 1, 2], results
    assert [result.WhichOneof("result") for result in results] == ["imported", "error", "imported"], results
    assert results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0], results


def rich_errors():
    bad = draft("bad")
    bad.target.url = "file:///etc/passwd"
    bad.statement_of_reasons = ""
    bad.ground = 999
    request = referral_service_pb2.CreateReferralRequest(parent=AGENCY, referral=bad, request_id="not a UUID")
    code, details = refused(lambda: referrals.CreateReferral(request, **acting(AGENCY)))
    info = details["ErrorInfo"]
    assert (code, info.reason, info.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID", "portreeve"), info
    fields = {violation.field for violation in details["BadRequest"].field_violations}
    expected = {"referral.target.url", "referral.statement_of_reasons", "referral.ground", "request_id"}
    assert fields == expected, fields

    request = referral_service_pb2.ListReferralsRequest(parent="agencies/another")
    code, details = refused(lambda: referrals.ListReferrals(request, **acting(AGENCY)))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    code, details = refused(lambda: referrals.ListReferrals(request, timeout=SECONDS))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    code, details = refused(lambda: next(decisions.WatchCases(watch("garbage"), **acting(PLATFORM))))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RESUME_TOKEN_INVALID")


def watch(token=None):
    start = watch_pb2.WatchStart(resume_token=token) if token else watch_pb2.WatchStart(earliest=True)
    return decision_service_pb2.WatchCasesRequest(parent=PLATFORM, start=start)


def inbox(referral):
    """The case of the referral, as it comes in, and where to go on."""
    stream = decisions.WatchCases(watch(), **acting(PLATFORM))
    for message in stream:
        for change in message.changes:
            if change.opened.referral == referral:
                stream.cancel()
                return change.opened.name, message.resume_token
    raise AssertionError("the stream ended")


def decide(case):
    acknowledgement = decision_service_pb2.AcknowledgeCasesRequest(
        parent=PLATFORM, names=[case], request_id=request_id()
    )
    reply = decisions.AcknowledgeCases(acknowledgement, **acting(PLATFORM))
    assert reply.results[0].WhichOneof("result") == "receipt", reply
    decision = decision_pb2.DecisionDraft(
        kind=decision_pb2.DECISION_KIND_INITIAL,
        outcome=decision_pb2.OUTCOME_CLOSED_ILLEGAL,
        law="Immigration Act 1971, s. 25",
        decided_by=decision_pb2.DECISION_SOURCE_HUMAN,
    )
    request = decision_service_pb2.RecordDecisionRequest(parent=case, decision=decision, request_id=request_id())
    reply = decisions.RecordDecision(request, **acting(PLATFORM))
    assert reply.decision.version == 1, reply
    return reply.revision


def resume(case, token):
    """What comes after the token: nothing that came before it, nothing twice."""
    seen = []
    for message in decisions.WatchCases(watch(token), **acting(PLATFORM)):
        for change in message.changes:
            kind = change.WhichOneof("change")
            if getattr(change, kind).name == case:
                seen.append(kind)
        if "decided" in seen:
            break
    assert seen == ["acknowledged", "decided"], seen


def figures(revisions):
    definition = report_pb2.ReportDefinition(
        cohort_from_date="2020-01-01",
        cohort_until_date="2199-12-31",
        as_of_date="2199-12-31",
        dimensions=[report_pb2.DIMENSION_PLATFORM],
        filter=report_pb2.ReportFilter(platforms=[PLATFORM]),
    )
    request = reporting_service_pb2.QueryReportRequest(definition=definition, at_least=revisions)
    report = reports.QueryReport(request, **acting(ANALYST)).report
    counts = report.total.counts
    assert (counts.referred, counts.closed, counts.undecided) == (3, 1, 2), report
    assert counts.closed + counts.not_in_breach + counts.undecided + counts.other == counts.referred
    files(definition, revisions, report)


def files(definition, revisions, report):
    """The file of the report, read by Apache's own reader, has the figures of its JSON."""

    def export(form):
        request = reporting_service_pb2.ExportReportRequest(definition=definition, format=form, at_least=revisions)
        return b"".join(piece.data for piece in reports.ExportReport(request, **acting(ANALYST)))

    as_json = json.loads(export(reporting_service_pb2.EXPORT_FORMAT_JSON))
    table = parquet.read_table(pyarrow.BufferReader(export(reporting_service_pb2.EXPORT_FORMAT_PARQUET)))
    metadata = table.schema.metadata
    assert metadata[b"portreeve.digest"].decode() == as_json["digest"] == report.digest, metadata
    assert json.loads(metadata[b"portreeve.definition"]) == as_json["definition"], metadata
    assert table.schema.field("as_of_date").type == pyarrow.date32(), table.schema
    assert table.schema.field("referred").type == pyarrow.int64(), table.schema
    lines = table.to_pylist()
    assert [line["line"] for line in lines] == ["row"] * len(as_json["rows"]) + ["total"], lines
    for line, row in zip(lines, [*as_json["rows"], as_json["total"]]):
        assert line["platform"] == (row["key"][0]["value"] if row["key"] else None), line
        said = {"referred": "referred", "closed": "closed", "undecided": "undecided", "not_in_breach": "notInBreach", "other": "other"}
        for column, field in said.items():
            assert line[column] == int(row["counts"][field]), (column, line, row)


def canonical(said, agency, occurred_at):
    """What is signed of a draft or a case: RFC 8785, which for an object of texts is JSON with sorted names."""
    members = {
        "type": "portreeve.referral.v1.ReferralDraft",
        "agency": agency,
        "platform": said.platform,
        "target_kind": words.TargetKind.Name(said.target.kind),
        "url": said.target.url,
        "native_id": said.target.native_id,
        "nature": words.ReferralNature.Name(said.nature),
        "ground": words.Ground.Name(said.ground),
        "legal_basis_code": said.legal_basis.code,
        "legal_basis_statute": said.legal_basis.statute,
        "legal_basis_section": said.legal_basis.section,
        "statement_of_reasons": said.statement_of_reasons,
        "statement_language": said.statement_language,
        "content_language": said.content_language,
        "occurred_at": occurred_at,
    }
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign():
    """Signs a referral with another library than the server's, and verifies its case with it."""
    private = Ed25519PrivateKey.generate()
    key = signature_pb2.SigningKey(public_key=private.public_key().public_bytes_raw())
    key.valid_until.GetCurrentTime()
    key.valid_until.seconds += 86_400
    request = signing_service_pb2.AddSigningKeyRequest(
        parent=AGENCY, kid="python", signing_key=key, request_id=request_id()
    )
    signing.AddSigningKey(request, **acting(AGENCY))

    signed = draft("signed")
    signed.statement_of_reasons = 'Offers "crossings" \u2014 caf\u00e9,\n\U0001f6a2'
    tokens = jwt.PyJWS()
    header = {"kid": "python", "iat": int(time.time())}
    header, _, signature = tokens.encode(canonical(signed, AGENCY, ""), private, "EdDSA", header).split(".")
    signed.signature.jws = f"{header}..{signature}"
    request = referral_service_pb2.CreateReferralRequest(parent=AGENCY, referral=signed, request_id=request_id())
    reply = referrals.CreateReferral(request, **acting(AGENCY))

    name = f"{PLATFORM}/cases/{reply.referral.name.rsplit('/')[-1]}"
    request = decision_service_pb2.GetCaseRequest(name=name, at_least=[reply.revision])
    case = decisions.GetCase(request, **acting(PLATFORM)).case
    request = signing_service_pb2.GetSigningProfileRequest(name=f"{AGENCY}/signingProfile")
    (key,) = signing.GetSigningProfile(request, **acting(PLATFORM)).profile.keys
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    header, _, signature = case.signature.jws.split(".")
    payload = base64.urlsafe_b64encode(canonical(case, case.agency, "")).rstrip(b"=").decode()
    assert tokens.decode(f"{header}.{payload}.{signature}", public, ["EdDSA"]), case

    signed.statement_of_reasons += "."
    request = referral_service_pb2.CreateReferralRequest(parent=AGENCY, referral=signed, request_id=request_id())
    code, details = refused(lambda: referrals.CreateReferral(request, **acting(AGENCY)))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SIGNATURE_INVALID"), details


def health():
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "portreeve.referral.v1.ReferralService", "portreeve.reporting.v1.ReportingService"):
        reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING, (service, reply)


def reflection():
    """Calls a method that is known from reflection alone; then asks the newer version of reflection too."""
    database = ProtoReflectionDescriptorDatabase(channel)
    names = set(database.get_services())
    for name in ("portreeve.referral.v1.ReferralService", "portreeve.decision.v1.DecisionService"):
        assert name in names, names
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName("portreeve.referral.v1.OrganisationService").FindMethodByName("GetOrganisation")
    request = message_factory.GetMessageClass(method.input_type)(name=PLATFORM)
    reply = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )(request, **acting(AGENCY))
    assert list(reply.organisation.hosts) == ["python.example"], reply

    # The messages of v1 are those of v1alpha.
    info = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    reply = next(info(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=SECONDS))
    newer = {service.name for service in reply.list_services_response.service}
    assert {name.replace(".v1alpha.", ".v1.") for name in names} == newer, (names, newer)


def main():
    register()
    rich_errors()
    reply = refer()
    case, token = inbox(reply.referral.name)
    revision = decide(case)
    resume(case, token)
    bring_in()
    newest = referrals.ListReferrals(
        referral_service_pb2.ListReferralsRequest(parent=AGENCY), **acting(AGENCY)
    ).revisions
    figures([revision, *newest])
    sign()
    health()
    reflection()


main()
