"""A pytest plugin that writes one JSON line a test: its name, markers, outcome and first reason.

The runner reads these lines; pytest's own report formats know nothing of markers. Every test that
was found gets a line with the outcome "collected"; CONFORMANCE_ONLY may name a file with the names
of those that shall run.

With CONFORMANCE_IAM set, the tests of IAM and STS find what they would find on AWS. [s3 alt] is a user
in the account of [iam], which writes its policies; buckets of that account are removed by the account.
Users are removed once more after each test: the suite removes them before the groups they are in,
which AWS refuses (IAM API, DeleteUser), and the next test would find them.
"""

import configparser
import json
import os


def _write(**line):
    with open(os.environ["CONFORMANCE_MARKS"], "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def pytest_collection_modifyitems(config, items):
    only = None
    if os.environ.get("CONFORMANCE_ONLY"):
        with open(os.environ["CONFORMANCE_ONLY"], encoding="utf-8") as names:
            only = {name.strip() for name in names}
    kept, left = [], []
    for item in items:
        markers = sorted({marker.name for marker in item.iter_markers()})
        name = f"{item.location[0].rsplit('/', 1)[-1]}::{item.name}"
        _write(id=name, markers=markers, outcome="collected")
        (kept if only is None or name in only else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_runtest_logreport(report):
    failed_outside = report.when != "call" and report.failed
    if report.when != "call" and not failed_outside and not report.skipped:
        return
    outcome = "error" if failed_outside else report.outcome
    reason = ""
    if report.failed:
        crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
        reason = (crash.message if crash else str(report.longrepr)).split("\n")[0][:300]
    file, _, name = report.nodeid.partition("::")
    _write(id=f"{file.rsplit('/', 1)[-1]}::{name}", outcome=outcome, reason=reason, seconds=round(report.duration, 2))


def pytest_sessionstart(session):
    if not os.environ.get("CONFORMANCE_IAM"):
        return
    import boto3

    path = os.environ["S3TEST_CONF"]
    conf = configparser.RawConfigParser()
    conf.read(path)
    iam = boto3.client(
        "iam",
        region_name="",
        endpoint_url=f"http://{conf['DEFAULT']['host']}:{conf['DEFAULT']['port']}",
        aws_access_key_id=conf["iam"]["access_key"],
        aws_secret_access_key=conf["iam"]["secret_key"],
    )
    name = conf["s3 alt"]["user_id"]
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    conf["s3 alt"]["access_key"] = key["AccessKeyId"]
    conf["s3 alt"]["secret_key"] = key["SecretAccessKey"]
    with open(path, "w", encoding="utf-8") as out:
        conf.write(out)

    from s3tests import functional

    nuke = functional.nuke_prefixed_buckets

    def by_the_account(prefix, client=None):
        if client is not None and client._request_signer._credentials.access_key == key["AccessKeyId"]:
            client = functional.get_iam_s3client()
        nuke(prefix=prefix, client=client)

    functional.nuke_prefixed_buckets = by_the_account


def pytest_runtest_logfinish(nodeid):
    if not os.environ.get("CONFORMANCE_IAM"):
        return
    from s3tests.functional import get_iam_path_prefix, get_iam_root_client, iam

    iam.nuke_users(get_iam_root_client(), PathPrefix=get_iam_path_prefix())
