//! A server of a few S3 requests, in memory, with faults on demand.
//!
//! It speaks just enough HTTP for s3load and answers GET in chunks every other time. It checks that
//! what was signed is what came over the wire.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benches::s3load::sign::{AmzDate, Credentials, Signer, ToSign};
use benches::s3load::target::TargetArgs;

/// How the server misbehaves.
#[derive(Debug, Default)]
pub struct Faults {
    /// Every PUT is answered 503 SlowDown.
    pub refuse_puts: AtomicBool,
    /// After so many requests, connections are closed without an answer, and new ones too.
    pub leave_after: AtomicU64,
}

pub struct Server {
    pub objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Parts of uploads by key and number.
    parts: Mutex<BTreeMap<(String, u32), Vec<u8>>>,
    pub faults: Faults,
    requests: AtomicU64,
    authority: String,
    folder: tempfile::TempDir,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn credentials() -> Credentials {
    let text = |text: &str| text.to_owned();
    Credentials { access_key: text("AKEY"), secret_key: text("secret"), region: text("cess-1") }
}

impl Server {
    pub fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        let ready = format!(
            r#"{{"s3":"http://{authority}","region":"cess-1","access_key":"AKEY","secret_key":"secret","pid":{pid}}}"#
        );
        std::fs::write(folder.path().join("ready.json"), ready).unwrap();
        let faults = Faults { leave_after: AtomicU64::new(u64::MAX), ..Faults::default() };
        let (objects, parts, requests) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        let server = Arc::new(Self { objects, parts, faults, requests, authority, folder });
        let accepting = Arc::clone(&server);
        // Detached: it ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = Arc::clone(&accepting);
                std::thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        server
    }
    pub fn target(&self) -> TargetArgs {
        TargetArgs {
            ready: Some(self.folder.path().join("ready.json")),
            endpoint: None,
            region: String::new(),
            access_key: String::new(),
            pid: Vec::new(),
            bucket: "bucket".to_owned(),
            timeout: Duration::from_secs(5),
        }
    }
    pub fn record(&self) -> std::path::PathBuf {
        self.folder.path().join("record")
    }
    /// Leaves after so many more requests.
    pub fn leave_after(&self, requests: u64) {
        self.faults.leave_after.store(self.requests.load(Ordering::SeqCst) + requests, Ordering::SeqCst);
    }
    pub fn come_back(&self) {
        self.faults.leave_after.store(u64::MAX, Ordering::SeqCst);
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader) {
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            if number >= self.faults.leave_after.load(Ordering::SeqCst) {
                return;
            }
            self.check_signature(&request);
            let answer = self.answer(&request, number);
            if writer.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn check_signature(&self, request: &Request) {
        let date = request.headers["x-amz-date"].clone();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let date = (now - 60..=now).map(AmzDate::from_unix).find(|at| at.as_str() == date).unwrap();
        let to_sign = ToSign {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            host: &self.authority,
            payload: &request.headers["x-amz-content-sha256"],
            headers: &[],
        };
        let wanted = Signer::new(credentials()).authorization(&to_sign, &date);
        assert_eq!(request.headers["authorization"], wanted);
    }

    fn answer(&self, request: &Request, number: u64) -> Vec<u8> {
        let Some(key) = request.path.strip_prefix("/bucket/") else {
            return if request.method == "GET" { self.list(&request.query) } else { answer(200, "", b"") };
        };
        if request.query.contains("upload") {
            return self.upload(key, request);
        }
        let mut objects = self.objects.lock().unwrap();
        match request.method.as_str() {
            "PUT" if self.faults.refuse_puts.load(Ordering::SeqCst) => {
                answer(503, "", b"<Error><Code>SlowDown</Code></Error>")
            }
            "PUT" => {
                objects.insert(key.to_owned(), request.body.clone());
                answer(200, "", b"")
            }
            "DELETE" => {
                objects.remove(key);
                b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
            }
            method => match objects.get(key) {
                None => answer(404, "", b"<Error><Code>NoSuchKey</Code></Error>"),
                Some(body) if method == "HEAD" => {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes()
                }
                Some(body) => get(body, request.headers.get("range"), number.is_multiple_of(2)),
            },
        }
    }

    /// The three requests of a multipart upload; there is one upload for each key.
    fn upload(&self, key: &str, request: &Request) -> Vec<u8> {
        let mut parts = self.parts.lock().unwrap();
        if request.query == "uploads=" {
            return answer(
                200,
                "",
                b"<InitiateMultipartUploadResult><UploadId>u/1</UploadId></InitiateMultipartUploadResult>",
            );
        }
        assert!(request.query.ends_with("uploadId=u%2F1"));
        if let Some(number) = request.query.strip_prefix("partNumber=") {
            let number = number.split('&').next().unwrap().parse().unwrap();
            parts.insert((key.to_owned(), number), request.body.clone());
            return answer(200, &format!("ETag: \"{number}\"\r\n"), b"");
        }
        let named = String::from_utf8(request.body.clone()).unwrap();
        let mut whole = Vec::new();
        for (number, part) in
            (1..).map_while(|number| Some((number, parts.remove(&(key.to_owned(), number))?)))
        {
            assert!(named.contains(&format!("<PartNumber>{number}</PartNumber><ETag>\"{number}\"</ETag>")));
            whole.extend(part);
        }
        self.objects.lock().unwrap().insert(key.to_owned(), whole);
        answer(200, "", b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
    }

    /// Pages of at most 7 keys; the token is the last key.
    fn list(&self, query: &str) -> Vec<u8> {
        let field = |name: &str| query.split('&').find_map(|field| field.strip_prefix(name)).map(decode);
        let (prefix, after) = (field("prefix=").unwrap(), field("continuation-token=").unwrap_or_default());
        let objects = self.objects.lock().unwrap();
        let mut left = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let page: Vec<_> = left.by_ref().take(7).collect();
        let mut xml = "<ListBucketResult>".to_owned();
        for (key, body) in &page {
            xml.push_str(&format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", body.len()));
        }
        if let (Some(_), Some((last, _))) = (left.next(), page.last()) {
            xml.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
        }
        answer(200, "", (xml + "</ListBucketResult>").as_bytes())
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let (method, uri) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_owned(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |len: &String| len.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Word\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn get(body: &[u8], range: Option<&String>, in_chunks: bool) -> Vec<u8> {
    let (status, body) = match range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
        Some((first, last)) => (206, &body[first.parse().unwrap()..=last.parse().unwrap()]),
        None => (200, body),
    };
    if !in_chunks {
        return answer(status, "", body);
    }
    let mut bytes = format!("HTTP/1.1 {status} Word\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(1000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn decode(text: &str) -> String {
    text.replace("%2F", "/")
}
