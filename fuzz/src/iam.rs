//! IAM and STS: the query protocol.

use aws_sigv4::http_request::SignableBody;

use crate::bytes::Input;
use crate::sign::{Request, signed};
use crate::wire::request;
use crate::world::ask;

/// Any bytes as a form with an `Action`.
pub(crate) fn iam(data: &[u8]) {
    let mut input = Input::new(data);
    let service = if input.byte() & 1 == 0 { "iam" } else { "sts" };
    let body = input.rest();
    ask(|world| {
        let headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let (method, target, body_len, presigned) = ("POST", "/", body.len(), false);
        let signable = SignableBody::Bytes(body);
        let to_sign = Request { method, target, headers, body: signable, body_len, service, presigned };
        let Some(head) = signed(world.s3, to_sign) else { return };
        let answer = request(world.s3, &head, body);
        assert!(!answer.says("SignatureDoesNotMatch"), "refused: {answer:?}");
    });
}
