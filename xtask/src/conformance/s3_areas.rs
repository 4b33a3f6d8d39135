//! Which tests of ceph/s3-tests are about AWS's S3, and what each is about.
//!
//! **Generic** are the tests of `test_s3.py` and `test_headers.py` that are about what AWS documents
//! and that need nothing but an S3 endpoint with three users: not those marked as failing on AWS or as
//! needing Signature Version 2 in headers, and not RGW's own ground (IAM, STS, topics, Select, its
//! bucket logging, tiers, lifecycle with a shortened day, keys of a KMS).

/// Marks of tests that are not generic.
const OTHER_MARKS: [&str; 15] = [
    "fails_on_aws",
    "auth_aws2",
    "bucket_logging",
    "bucket_logging_cleanup",
    "lifecycle_expiration",
    "lifecycle_transition",
    "cloud_transition",
    "cloud_restore",
    "s3select",
    "sns",
    "iam_account",
    "iam_user",
    "iam_role",
    "test_of_sts",
    "webidentity_test",
];

/// Whether a test counts towards the generic mark.
pub fn is_generic(id: &str, marks: &[String]) -> bool {
    let Some((file, name)) = id.split_once("::") else { return false };
    matches!(file, "test_s3.py" | "test_headers.py")
        && !marks.iter().any(|mark| OTHER_MARKS.contains(&mark.as_str()))
        && !name.contains("kms")
        && !name.contains("logging")
}

/// What a test is about, by the first word of its name that says it.
pub fn area(id: &str) -> &'static str {
    let (file, name) = id.split_once("::").unwrap_or(("", id));
    if file == "test_headers.py" {
        return "headers";
    }
    let areas = [
        ("object_lock", "object lock"),
        ("lifecycle", "lifecycle"),
        ("bucket_policy", "policy"),
        ("bucketv2_policy", "policy"),
        ("policy", "policy"),
        ("post_object", "form uploads"),
        ("sse_c", "SSE-C"),
        ("copy_enc", "encrypted copies"),
        ("copy_part_enc", "encrypted copies"),
        ("encrypt", "encryption"),
        ("sse_s3", "encryption"),
        ("cors", "CORS"),
        ("ownership", "ownership"),
        ("bucket_owner", "ownership"),
        ("object_writer", "ownership"),
        ("public", "public access"),
        ("acl", "access lists"),
        ("access_bucket", "access lists"),
        ("anon", "anonymous, presigned"),
        ("raw", "anonymous, presigned"),
        ("tag", "tagging"),
        ("checksum", "checksums"),
        ("cksum", "checksums"),
        ("attributes", "attributes"),
        ("multipart", "multipart"),
        ("versioning", "versioning"),
        ("versioned", "versioning"),
        ("delete_marker", "versioning"),
        ("conditional", "conditional"),
        ("ifmatch", "conditional"),
        ("ifnonematch", "conditional"),
        ("if_match", "conditional"),
        ("ifmodified", "conditional"),
        ("range", "ranges"),
        ("copy", "copies"),
        ("atomic", "atomicity"),
        ("list", "listing"),
        ("bucket_create", "buckets"),
        ("bucket", "buckets"),
    ];
    areas.into_iter().find(|(word, _)| name.contains(word)).map_or("objects", |(_, area)| area)
}

#[cfg(test)]
mod tests {
    use super::{area, is_generic};

    #[test]
    fn tests_are_sorted_by_mark_and_name() {
        let marks = |marks: &[&str]| marks.iter().map(|mark| (*mark).to_owned()).collect::<Vec<_>>();
        assert!(is_generic("test_s3.py::test_bucket_list_empty", &marks(&["fails_on_dbstore"])));
        assert!(!is_generic("test_s3.py::test_bucket_list_empty", &marks(&["fails_on_aws"])));
        assert!(!is_generic("test_iam.py::test_x", &[]) && !is_generic("test_s3.py::test_sse_kms_x", &[]));
        assert_eq!(area("test_s3.py::test_object_lock_put"), "object lock");
        assert_eq!(area("test_headers.py::test_object_create"), "headers");
        assert_eq!(area("test_s3.py::test_100_continue"), "objects");
    }
}
