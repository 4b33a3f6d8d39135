//! The JSON of an event: AWS's record, version 2.1 for objects made and removed, 2.3 for what came
//! later (AWS: "Event message structure"). The sequencer is the event's number: of two events of one
//! key the later has the greater.

use bytes::Bytes;
use gw_store::{Event, EventKind};
use gw_types::Timestamp;
use serde_json::{Value, json};

use crate::sink::Message;

/// An event as it is sent.
pub(crate) fn message(event: &Event, region: &str, now: Timestamp) -> Message {
    let body = match event.kind {
        EventKind::Test => test(event),
        _ => json!({ "Records": [record(event, region)] }),
    };
    Message {
        id: sequencer(event),
        kind: event.kind.name(),
        now_seconds: now.unix_seconds(),
        body: Bytes::from(serde_json::to_vec(&body).expect("JSON values with text keys always print")),
    }
}

fn sequencer(event: &Event) -> String {
    format!("{:016X}", event.seq.0)
}

fn test(event: &Event) -> Value {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": event.at.iso_millis(),
        "Bucket": event.bucket,
        "RequestId": event.request_id,
        "HostId": "cess-gateway",
    })
}

fn record(event: &Event, region: &str) -> Value {
    let name = event.kind.name();
    let first = name.starts_with("ObjectCreated:") || name.starts_with("ObjectRemoved:");
    let who = match event.kind {
        EventKind::ExpiredDelete | EventKind::ExpiredMarker => "s3.amazonaws.com",
        _ => event.who.as_deref().unwrap_or("anonymous"),
    };
    let mut object = json!({ "key": encoded(&event.key), "sequencer": sequencer(event) });
    if let Value::Object(object) = &mut object {
        if let Some(size) = event.size {
            object.insert("size".to_owned(), size.into());
        }
        if let Some(etag) = event.etag {
            object.insert("eTag".to_owned(), etag.to_string().into());
        }
        if let Some(version) = event.version {
            object.insert("versionId".to_owned(), version.to_string().into());
        }
    }
    json!({
        "eventVersion": if first { "2.1" } else { "2.3" },
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": event.at.iso_millis(),
        "eventName": name,
        "userIdentity": { "principalId": who },
        "requestParameters": { "sourceIPAddress": event.source_ip },
        "responseElements": { "x-amz-request-id": event.request_id, "x-amz-id-2": "cess-gateway" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": event.rule,
            "bucket": {
                "name": event.bucket,
                "ownerIdentity": { "principalId": event.owner },
                "arn": format!("arn:aws:s3:::{}", event.bucket),
            },
            "object": object,
        },
    })
}

/// A key as AWS writes it: as in a form, but slashes stay.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => text.push('+'),
            b'/' | b'-' | b'_' | b'.' | b'*' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use gw_store::{Etag, Event, EventKind, EventSeq, VersionId};
    use gw_types::Timestamp;

    use super::{encoded, message};

    fn event(kind: EventKind) -> Event {
        Event {
            seq: EventSeq(0x1234_5000),
            kind,
            rule: "rule".to_owned(),
            bucket: "bucket".to_owned(),
            owner: "ann".to_owned(),
            key: "a b/é+.txt".to_owned(),
            size: Some(5),
            etag: Some(Etag::Md5([0xab; 16])),
            version: Some(VersionId::Null),
            at: Timestamp(1_700_000_000_123_456_789),
            who: Some("bob".to_owned()),
            source_ip: "127.0.0.1".to_owned(),
            request_id: "REQ".to_owned(),
        }
    }

    #[test]
    fn a_record_is_aws_s_byte_for_byte() {
        let made = message(&event(EventKind::CreatedPut), "cess-1", Timestamp(0));
        let golden = concat!(
            r#"{"Records":[{"awsRegion":"cess-1","eventName":"ObjectCreated:Put","eventSource":"aws:s3","#,
            r#""eventTime":"2023-11-14T22:13:20.123Z","eventVersion":"2.1","requestParameters":{"#,
            r#""sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-id-2":"cess-gateway","#,
            r#""x-amz-request-id":"REQ"},"s3":{"bucket":{"arn":"arn:aws:s3:::bucket","name":"bucket","#,
            r#""ownerIdentity":{"principalId":"ann"}},"configurationId":"rule","object":{"#,
            r#""eTag":"abababababababababababababababab","key":"a+b/%C3%A9%2B.txt","#,
            r#""sequencer":"0000000012345000","size":5,"versionId":"null"},"s3SchemaVersion":"1.0"},"#,
            r#""userIdentity":{"principalId":"bob"}}]}"#,
        );
        assert_eq!(std::str::from_utf8(&made.body).unwrap(), golden);
        assert_eq!((made.id.as_str(), made.kind), ("0000000012345000", "ObjectCreated:Put"));
    }

    #[test]
    fn what_came_later_has_a_later_version() {
        let text = |kind| String::from_utf8(message(&event(kind), "r", Timestamp(0)).body.to_vec()).unwrap();
        for kind in [EventKind::TaggingPut, EventKind::AclPut, EventKind::ExpiredDelete] {
            assert!(text(kind).contains(r#""eventVersion":"2.3""#), "{kind:?}");
        }
        assert!(text(EventKind::ExpiredMarker).contains(r#""principalId":"s3.amazonaws.com""#));
        assert!(text(EventKind::Test).starts_with(r#"{"Bucket":"bucket","Event":"s3:TestEvent""#));
    }

    #[test]
    fn dates_are_right_at_the_edges_of_years() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(Timestamp(seconds * 1_000_000_000).iso_millis(), text);
        }
        assert_eq!(encoded("a/b-c_d.e*f~%"), "a/b-c_d.e*f%7E%25");
    }
}
