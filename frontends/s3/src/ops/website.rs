//! A bucket's website configuration: checked here, kept as a document, carried out by
//! [`crate::website`].

use bytes::Bytes;
use gw_types::Action;
use http::StatusCode;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Operations;
use super::ask::{Ask, argument, bucket};
use super::wants::malformed;
use crate::errors::{coded, from_store};
use crate::website::{DOCUMENT, NAME};
use crate::xml;

/// Most routing rules (AWS).
const ROUTING_RULES_MAX: usize = 50;

impl Operations {
    pub(super) async fn show_website(
        &self,
        request: S3Request<dto::GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<dto::GetBucketWebsiteOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let text = self.store.bucket_document(ask.who, &name, NAME, Action::GetBucketWebsite).await;
        let text = text.map_err(from_store)?.ok_or_else(|| {
            coded(
                "NoSuchWebsiteConfiguration",
                StatusCode::NOT_FOUND,
                "The specified bucket does not have a website configuration",
            )
        })?;
        let website: dto::WebsiteConfiguration = xml::read(DOCUMENT, &text)?;
        Ok(S3Response::new(dto::GetBucketWebsiteOutput {
            error_document: website.error_document,
            index_document: website.index_document,
            redirect_all_requests_to: website.redirect_all_requests_to,
            routing_rules: website.routing_rules,
        }))
    }

    pub(super) async fn set_website(
        &self,
        request: S3Request<dto::PutBucketWebsiteInput>,
    ) -> S3Result<S3Response<dto::PutBucketWebsiteOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        check(&input.website_configuration)?;
        let text = xml::write(DOCUMENT, &input.website_configuration)?;
        let place = (NAME, Action::PutBucketWebsite);
        let set = self.store.bucket_document_set(ask.who, &name, place, Some(Bytes::from(text)));
        set.await.map_err(from_store)?;
        Ok(S3Response::new(dto::PutBucketWebsiteOutput::default()))
    }

    pub(super) async fn remove_website(
        &self,
        request: S3Request<dto::DeleteBucketWebsiteInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketWebsiteOutput>> {
        let S3Request { input, extensions, .. } = request;
        let ask = Ask::of(&extensions)?;
        let name = bucket(&input.bucket)?;
        self.expect_owner(&ask, &name, input.expected_bucket_owner.as_deref()).await?;
        let place = (NAME, Action::DeleteBucketWebsite);
        self.store.bucket_document_set(ask.who, &name, place, None).await.map_err(from_store)?;
        Ok(S3Response::new(dto::DeleteBucketWebsiteOutput::default()))
    }
}

fn check(website: &dto::WebsiteConfiguration) -> S3Result<()> {
    let rules = website.routing_rules.as_deref().unwrap_or_default();
    if let Some(all) = &website.redirect_all_requests_to {
        if website.index_document.is_some() || website.error_document.is_some() || !rules.is_empty() {
            return Err(argument(
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            ));
        }
        check_protocol(all.protocol.as_ref())?;
        return if all.host_name.is_empty() { Err(argument("A host name must be provided")) } else { Ok(()) };
    }
    let index = website.index_document.as_ref().ok_or_else(|| {
        argument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty")
    })?;
    if index.suffix.is_empty() || index.suffix.contains('/') {
        return Err(argument("The IndexDocument Suffix is not well formed"));
    }
    if website.error_document.as_ref().is_some_and(|document| document.key.is_empty()) {
        return Err(argument("The ErrorDocument Key is not well formed"));
    }
    if rules.len() > ROUTING_RULES_MAX {
        return Err(argument(format!(
            "{} routing rules provided, the number of routing rules in a website configuration is limited to 50.",
            rules.len()
        )));
    }
    rules.iter().try_for_each(check_rule)
}

fn check_protocol(protocol: Option<&dto::Protocol>) -> S3Result<()> {
    match protocol.map(|protocol| protocol.as_str()) {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "Invalid protocol, protocol can be http or https.",
        )),
    }
}

fn check_rule(rule: &dto::RoutingRule) -> S3Result<()> {
    if let Some(condition) = &rule.condition {
        if condition.key_prefix_equals.is_none() && condition.http_error_code_returned_equals.is_none() {
            return Err(malformed());
        }
        let code = condition.http_error_code_returned_equals.as_deref();
        if code.is_some_and(|code| !(400..600).contains(&code.parse().unwrap_or(0u16))) {
            return Err(argument("The provided HTTP error code is not valid. Valid codes are 4XX or 5XX."));
        }
    }
    let redirect = &rule.redirect;
    check_protocol(redirect.protocol.as_ref())?;
    if redirect.replace_key_with.is_some() && redirect.replace_key_prefix_with.is_some() {
        return Err(argument("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    let code = redirect.http_redirect_code.as_deref();
    if code.is_some_and(|code| !matches!(code, "301" | "302" | "303" | "304" | "305" | "307" | "308")) {
        return Err(argument(
            "The provided HTTP redirect code is not valid. Valid codes are 3XX except 300.",
        ));
    }
    let goes_anywhere = redirect.host_name.is_some()
        || redirect.protocol.is_some()
        || redirect.http_redirect_code.is_some()
        || redirect.replace_key_with.is_some()
        || redirect.replace_key_prefix_with.is_some();
    if goes_anywhere { Ok(()) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    use s3s::dto::WebsiteConfiguration;

    use super::check;
    use crate::website::DOCUMENT;
    use crate::xml;

    fn code(text: &str) -> Option<String> {
        let text = format!("<{DOCUMENT}>{text}</{DOCUMENT}>");
        let website: WebsiteConfiguration = xml::read(DOCUMENT, text.as_bytes()).unwrap();
        check(&website).err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn configurations_that_aws_refuses_are_refused() {
        let index = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";
        let all = "<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>";
        let rule =
            |inner: &str| format!("{index}<RoutingRules><RoutingRule>{inner}</RoutingRule></RoutingRules>");
        let to = "<Redirect><HostName>h</HostName></Redirect>";
        for fine in [index, all, &rule(to)] {
            assert_eq!(code(fine), None, "{fine}");
        }
        for (text, wanted) in [
            (String::new(), "InvalidArgument"),
            (format!("{index}{all}"), "InvalidArgument"),
            (index.replace("index.html", "a/b"), "InvalidArgument"),
            (all.replace("</HostName>", "</HostName><Protocol>ftp</Protocol>"), "InvalidRequest"),
            (rule(&format!("<Condition></Condition>{to}")), "MalformedXML"),
            (
                rule(&format!(
                    "<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition>{to}"
                )),
                "InvalidArgument",
            ),
            (
                rule(
                    "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
                ),
                "InvalidArgument",
            ),
            (rule("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"), "InvalidArgument"),
            (rule("<Redirect></Redirect>"), "MalformedXML"),
        ] {
            assert_eq!(code(&text).as_deref(), Some(wanted), "{text}");
        }
    }
}
