"""Runs msst-s3 in place: one JSON line a test function, with the checks in it that failed.

Its tests are of two kinds. Numbered files hold one function that raises when something is wrong.
The others hold functions that collect what went right and wrong in a local variable `results` and
return a truth value; a profile hook reads that variable when such a function returns, because the
suite itself prints only the counts. Files that cannot be loaded count as failed.

Environment: MSST (the checkout), MSST_OUT (where lines go), S3_ENDPOINT, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, MSST_REGION, MSST_MATCH (part of a path).
"""

import contextlib
import importlib.util
import inspect
import io
import json
import os
import pathlib
import sys
import time

suite = pathlib.Path(os.environ["MSST"])
sys.path.insert(0, str(suite / "tests"))
from common.s3_client import S3Client  # noqa: E402

endpoint, region = os.environ["S3_ENDPOINT"], os.environ["MSST_REGION"]
keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
client = S3Client(endpoint_url=endpoint, access_key=keys[0], secret_key=keys[1], region=region, use_ssl=False)
config = {
    "s3_endpoint_url": endpoint,
    "s3_access_key": keys[0],
    "s3_secret_key": keys[1],
    "s3_region": region,
    "s3_use_ssl": False,
    "s3_bucket_prefix": "msst",
}


def load(path):
    spec = importlib.util.spec_from_file_location("msst_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = inspect.getmembers(module, inspect.isfunction)
    return [f for name, f in found if name.startswith("test_") and f.__module__ == module.__name__]


def run(function):
    """Whether it passed, and what it says of what did not."""
    checks = {}

    def watch(frame, event, _):
        if event == "return" and frame.f_code is function.__code__:
            checks.update(frame.f_locals.get("results") or {})

    names = list(inspect.signature(function).parameters)
    given = {"s3_client": client, "config": config}
    sys.setprofile(watch)
    try:
        value = function(*[given.get(name, config) for name in names])
        failed = [str(what) for what in checks.get("failed", [])]
        return value is not False and not failed, len(checks.get("passed", [])), failed
    except BaseException as error:  # Whatever ends a test early is its failure.
        if isinstance(error, KeyboardInterrupt):
            raise
        return False, len(checks.get("passed", [])), [f"{type(error).__name__}: {error}"]
    finally:
        sys.setprofile(None)


with open(os.environ["MSST_OUT"], "a", encoding="utf-8") as out:

    def write(**line):
        out.write(json.dumps(line) + "\n")
        out.flush()

    for path in sorted((suite / "tests").glob("*/*.py")):
        name = str(path.relative_to(suite / "tests"))
        numbered = path.stem.isdigit()
        if path.parent.name == "common" or os.environ.get("MSST_MATCH", "") not in name:
            continue
        try:
            functions = load(path)
        except Exception as error:
            write(test=name, numbered=numbered, passed=False, checks=0, failed=[repr(error)], seconds=0)
            continue
        for function in functions:
            began = time.time()
            with contextlib.redirect_stdout(io.StringIO()):
                passed, good, bad = run(function)
            seconds = round(time.time() - began, 2)
            test = f"{name}::{function.__name__}"
            write(test=test, numbered=numbered, passed=passed, checks=good, failed=bad, seconds=seconds)
