//! Websites, as browsers see them.

use crate::harness::{BUCKET, Gateway};
use crate::wire::{Auth, Reply};

const OPEN: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}"#;

async fn site() -> Gateway {
    let gateway = Gateway::start_with(|config| config.website_domains = vec!["web.test".to_owned()]).await;
    assert_eq!(gateway.wire("DELETE", "/bucket?publicAccessBlock").send().await.status, 204);
    assert_eq!(gateway.wire("PUT", "/bucket?policy").body(OPEN.as_bytes()).send().await.status, 204);
    gateway
}

async fn set(gateway: &Gateway, text: &str) {
    let document = format!("<WebsiteConfiguration>{text}</WebsiteConfiguration>");
    let set = gateway.wire("PUT", &format!("/{BUCKET}?website")).body(document.as_bytes()).send().await;
    assert_eq!(set.status, 200, "{set:?}");
}

async fn visit(gateway: &Gateway, method: &str, path: &str) -> Reply {
    gateway
        .wire(method, path)
        .with(|wire| {
            wire.auth = Auth::Nothing;
            wire.host = "bucket.web.test".to_owned();
        })
        .send()
        .await
}

#[tokio::test]
async fn pages_folders_and_errors_are_shown() {
    let gateway = site().await;
    let none = visit(&gateway, "GET", "/").await;
    assert_eq!((none.status, none.text().contains("NoSuchWebsiteConfiguration")), (404, true));
    set(
        &gateway,
        "<IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>oops.html</Key></ErrorDocument>",
    )
    .await;
    let shown = gateway.wire("GET", "/bucket?website").send().await;
    assert_eq!((shown.element("Suffix"), shown.element("Key")), (Some("index.html"), Some("oops.html")));
    gateway.put("index.html", b"home").await;
    gateway.put("a/index.html", b"folder").await;
    gateway.put("a%20b.txt", b"0123456789").await;
    assert_eq!(visit(&gateway, "GET", "/").await.text(), "home");
    assert_eq!(visit(&gateway, "GET", "/a/").await.text(), "folder");
    let folder = visit(&gateway, "GET", "/a").await;
    assert_eq!((folder.status, folder.header("location")), (302, Some("/a/")));
    assert_eq!(visit(&gateway, "GET", "/a%20b.txt?x=1").await.text(), "0123456789");
    let absent = visit(&gateway, "GET", "/none%3Cb%3E").await;
    assert_eq!((absent.status, absent.header("content-type")), (403, Some("text/html; charset=utf-8")));
    assert!(!absent.text().contains("<b>"), "{}", absent.text());
    gateway.put("oops.html", b"sorry").await;
    let absent = visit(&gateway, "GET", "/none").await;
    assert_eq!((absent.status, absent.text()), (403, "sorry"));
    assert_eq!(visit(&gateway, "PUT", "/x").await.status, 405);
    // The same name on the API's host is no website.
    assert_eq!(gateway.wire("GET", "/bucket/none").send().await.code(), "NoSuchKey");
    assert_eq!(gateway.wire("DELETE", "/bucket?website").send().await.status, 204);
    assert_eq!(gateway.wire("GET", "/bucket?website").send().await.code(), "NoSuchWebsiteConfiguration");
}

#[tokio::test]
async fn redirects_go_where_they_are_told() {
    let gateway = site().await;
    set(
        &gateway,
        "<IndexDocument><Suffix>index.html</Suffix></IndexDocument><RoutingRules>\
         <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
         <Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith><HttpRedirectCode>302</HttpRedirectCode></Redirect>\
         </RoutingRule><RoutingRule><Condition><HttpErrorCodeReturnedEquals>403</HttpErrorCodeReturnedEquals>\
         </Condition><Redirect><Protocol>https</Protocol><HostName>other.test</HostName>\
         <ReplaceKeyWith>lost</ReplaceKeyWith></Redirect></RoutingRule></RoutingRules>",
    )
    .await;
    let at = |reply: &Reply| (reply.status, reply.header("location").unwrap_or_default().to_owned());
    let old = visit(&gateway, "GET", "/old/a%20b").await;
    assert_eq!(at(&old), (302, "http://bucket.web.test/new/a%20b".to_owned()));
    assert_eq!(at(&visit(&gateway, "HEAD", "/none").await), (301, "https://other.test/lost".to_owned()));
    let put = gateway.wire("PUT", "/bucket/moved").header("x-amz-website-redirect-location", "/there");
    assert_eq!(put.send().await.status, 200);
    assert_eq!(at(&visit(&gateway, "GET", "/moved").await), (301, "/there".to_owned()));
    set(&gateway, "<RedirectAllRequestsTo><HostName>h.test</HostName></RedirectAllRequestsTo>").await;
    assert_eq!(at(&visit(&gateway, "GET", "/any/thing").await), (301, "http://h.test/any/thing".to_owned()));
}
