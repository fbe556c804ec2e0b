use std::error::Error as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};

use super::*;

type Text = Full<Bytes>;

/// Generous: only a hang reaches it.
const SOON: Duration = Duration::from_secs(20);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Over which connection a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Pooled,
    Fresh,
}

impl<B> UpstreamClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn send(
        &self,
        request: Request<B>,
        freshness: Freshness,
        head_timeout: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        match freshness {
            Freshness::Pooled => self.send_pooled(request, head_timeout).await,
            Freshness::Fresh => self.send_fresh(request, head_timeout).await,
        }
    }
}

/// An upstream that does to each connection what its script says, one after the other, and counts them.
struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    fn start(script: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                script(&mut stream.expect("accepted"));
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn request(&self, body: &'static str) -> Request<Text> {
        post(&format!("http://{}/call", self.address), body)
    }
}

fn post(uri: &str, body: &'static str) -> Request<Text> {
    Request::post(uri).header("host", "upstream.test").body(Full::from(body)).expect("a good request")
}

/// Reads up to the end of a request's head and of a body of `content-length` bytes.
fn read_request(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())
            .unwrap_or_default();
        match text.split_once("\r\n\r\n") {
            Some((_, body)) if body.len() >= length => return text,
            _ if read == 0 => return text,
            _ => {}
        }
    }
}

fn client() -> UpstreamClient<Text> {
    UpstreamClient::new(&UpstreamOptions::default()).expect("platform certificates are not required")
}

/// Sends on either kind of connection, one after the other, and hands each error to `check`.
async fn each_kind_fails(upstream: &Upstream, check: impl Fn(&SendError)) {
    for (sent, freshness) in [Freshness::Pooled, Freshness::Fresh].into_iter().enumerate() {
        let error = client().send(upstream.request("{}"), freshness, SOON).await.expect_err("the script never answers");
        check(&error);
        assert_eq!(upstream.connections(), sent + 1, "{freshness:?}: never sent again");
    }
}

fn lost(error: &SendError) -> Option<LostReason> {
    match error {
        SendError::Lost(failure) => Some(failure.reason()),
        SendError::NotSent(_) | SendError::TimedOut => None,
    }
}

fn not_sent(error: &SendError) -> Option<NotSentReason> {
    match error {
        SendError::NotSent(failure) => Some(failure.reason()),
        SendError::Lost(_) | SendError::TimedOut => None,
    }
}

#[tokio::test]
async fn a_request_goes_out_as_it_was_given_and_its_answer_comes_back() {
    let (seen, sees) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |stream| {
        seen.send(read_request(stream)).expect("the test listens");
        stream.write_all(ANSWER).expect("the client reads");
    });
    let mut request = upstream.request(r#"{"a":1}"#);
    *request.version_mut() = http::Version::HTTP_2;
    let response = client().send(request, Freshness::Fresh, SOON).await.expect("answered");
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "ok");
    let seen = sees.recv_timeout(SOON).expect("a request");
    assert_eq!(seen, "POST /call HTTP/1.1\r\nhost: upstream.test\r\ncontent-length: 7\r\n\r\n{\"a\":1}");
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    for freshness in [Freshness::Pooled, Freshness::Fresh] {
        let error = client().send(post(&format!("http://{address}/"), ""), freshness, SOON).await.expect_err("refused");
        assert_eq!(not_sent(&error), Some(NotSentReason::Connect), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_without_an_address_sent_nothing() {
    // A label over 63 characters: no resolver can have it.
    let uri = format!("http://{}.invalid/", "a".repeat(64));
    for freshness in [Freshness::Pooled, Freshness::Fresh] {
        let error = client().send(post(&uri, ""), freshness, SOON).await.expect_err("no such name");
        assert_eq!(not_sent(&error), Some(NotSentReason::Resolve), "{error:?}");
    }
}

/// Takes the first bytes of a handshake and never answers.
fn silent() -> Upstream {
    Upstream::start(|stream| {
        let _ = stream.read(&mut [0; 4096]);
        thread::sleep(SOON);
    })
}

#[tokio::test]
async fn a_handshake_that_never_ends_sent_nothing() {
    let upstream = silent();
    let options = UpstreamOptions { connect_timeout: Duration::from_millis(50), ..UpstreamOptions::default() };
    let client = UpstreamClient::new(&options).expect("a client");
    let request = post(&format!("https://{}/", upstream.address), "");
    let error = client.send(request, Freshness::Pooled, SOON).await.expect_err("no handshake");
    assert_eq!(not_sent(&error), Some(NotSentReason::TimedOut), "{error:?}");
}

#[tokio::test]
async fn a_time_out_while_a_fresh_connection_is_made_sent_nothing() {
    let upstream = silent();
    let request = post(&format!("https://{}/", upstream.address), "");
    let error = client().send(request, Freshness::Fresh, Duration::from_millis(50)).await.expect_err("no handshake");
    assert_eq!(not_sent(&error), Some(NotSentReason::TimedOut), "{error:?}");
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_was_sent_nothing() {
    let upstream = Upstream::start(|stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(ANSWER);
    });
    for freshness in [Freshness::Pooled, Freshness::Fresh] {
        let request = post(&format!("https://{}/", upstream.address), "");
        let error = client().send(request, freshness, SOON).await.expect_err("no TLS");
        assert_eq!(not_sent(&error), Some(NotSentReason::Tls), "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_before_anything_is_read_is_never_tried_again() {
    let upstream = Upstream::start(|_| {});
    each_kind_fails(&upstream, |error| {
        // Whether the request was begun depends on who is faster; either answer is true when it is given.
        assert!(lost(error).is_some() || not_sent(error) == Some(NotSentReason::Closed), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_closed_after_the_request_was_read_is_lost() {
    let upstream = Upstream::start(|stream| assert!(read_request(stream).ends_with("{}")));
    each_kind_fails(&upstream, |error| assert_eq!(lost(error), Some(LostReason::ClosedEarly), "{error:?}")).await;
}

#[tokio::test]
async fn a_connection_reset_after_the_request_was_read_is_lost() {
    let upstream = Upstream::start(|stream| {
        read_request(stream);
        socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    });
    each_kind_fails(&upstream, |error| assert_eq!(lost(error), Some(LostReason::Reset), "{error:?}")).await;
}

#[tokio::test]
async fn a_connection_closed_inside_the_head_of_the_response_is_lost() {
    let upstream = Upstream::start(|stream| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").expect("the client reads");
    });
    each_kind_fails(&upstream, |error| assert_eq!(lost(error), Some(LostReason::ClosedEarly), "{error:?}")).await;
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_lost() {
    let upstream = Upstream::start(|stream| {
        read_request(stream);
        stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n").expect("the client reads");
    });
    each_kind_fails(&upstream, |error| assert_eq!(lost(error), Some(LostReason::BadResponse), "{error:?}")).await;
}

#[tokio::test]
async fn a_response_head_over_the_limit_is_lost() {
    let upstream = Upstream::start(|stream| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let _ = stream.write_all(format!("x: {}\r\n", "y".repeat(2 * RESPONSE_HEAD_BYTES_MAX)).as_bytes());
        let _ = stream.read(&mut [0; 1]);
    });
    each_kind_fails(&upstream, |error| assert_eq!(lost(error), Some(LostReason::BadResponse), "{error:?}")).await;
}

#[tokio::test]
async fn an_upstream_that_never_answers_times_out_and_may_have_acted() {
    for freshness in [Freshness::Pooled, Freshness::Fresh] {
        let upstream = silent();
        let error = client().send(upstream.request("{}"), freshness, Duration::from_millis(200)).await;
        assert!(matches!(error, Err(SendError::TimedOut)), "{error:?}");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_fails_when_its_body_is_read() {
    let upstream = Upstream::start(|stream| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").expect("the client reads");
    });
    let response = client().send(upstream.request("{}"), Freshness::Fresh, SOON).await.expect("a head");
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect_err("96 bytes are missing");
}

#[tokio::test]
async fn a_body_that_fails_on_its_way_is_told_apart_from_an_upstream_that_does() {
    let upstream = Upstream::start(|stream| while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
    let chunks = futures_util::stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
        Err(BoxError::from("over the limit")),
    ]);
    let request =
        Request::post(format!("http://{}/", upstream.address)).body(StreamBody::new(chunks)).expect("a good request");
    let client = UpstreamClient::new(&UpstreamOptions::default()).expect("a client");
    let error = client.send(request, Freshness::Fresh, SOON).await.expect_err("the body failed");
    assert_eq!(lost(&error), Some(LostReason::RequestBody), "{error:?}");
    let mut chain = Vec::new();
    let mut cause = error.source();
    while let Some(current) = cause {
        chain.push(current.to_string());
        cause = current.source();
    }
    assert!(chain.iter().any(|text| text == "over the limit"), "{chain:?}");
}

#[tokio::test]
async fn a_pooled_connection_is_used_again_and_a_fresh_one_never() {
    for (freshness, expected) in [(Freshness::Pooled, 1), (Freshness::Fresh, 3)] {
        let upstream = Upstream::start(|stream| {
            while !read_request(stream).is_empty() {
                stream.write_all(ANSWER).expect("the client reads");
            }
        });
        let client = client();
        for _ in 0..3 {
            let response = client.send(upstream.request("{}"), freshness, SOON).await.expect("answered");
            response.into_body().collect().await.expect("whole");
        }
        assert_eq!(upstream.connections(), expected, "{freshness:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_target_is_not_sent() {
    let error = client().send(post("/relative", ""), Freshness::Pooled, SOON).await.expect_err("relative");
    assert_eq!(not_sent(&error), Some(NotSentReason::NoTarget));
}

/// A TLS upstream that shows `certificate` and answers one request for each connection.
fn tls_upstream(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> Upstream {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    let config = Arc::new(config);
    Upstream::start(move |stream| {
        let mut session = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut tls = rustls::Stream::new(&mut session, stream);
        if tls.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            let _ = tls.write_all(ANSWER);
        }
    })
}

fn certificate() -> (rcgen::Certificate, rcgen::KeyPair) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    (made.cert, made.signing_key)
}

fn trusting(path: &Path) -> Result<UpstreamClient<Text>, TrustError> {
    UpstreamClient::new(&UpstreamOptions { trust: Trust::File(path.to_owned()), ..UpstreamOptions::default() })
}

#[tokio::test]
async fn only_certificates_from_the_given_file_are_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((certificate_a, key_a), (certificate_b, key_b)) = (certificate(), certificate());
    let path = folder.path().join("ca.pem");
    lay_out(&path, &certificate_a.pem());
    let client = trusting(&path).expect("a CA");
    let trusted = tls_upstream(&certificate_a, &key_a);
    let uri = format!("https://{}/", trusted.address);
    let response = client.send(post(&uri, "{}"), Freshness::Fresh, SOON).await.expect("trusted");
    assert_eq!(response.status(), 200);
    let untrusted = tls_upstream(&certificate_b, &key_b);
    let uri = format!("https://{}/", untrusted.address);
    let error = client.send(post(&uri, "{}"), Freshness::Fresh, SOON).await.expect_err("untrusted");
    assert_eq!(not_sent(&error), Some(NotSentReason::Tls), "{error:?}");
}

#[test]
fn a_file_of_certificates_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let says = |what: &str| {
        let error = trusting(&path).expect_err("unusable").to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains(what), "{error}");
    };
    says("cannot be read");
    lay_out(&path, "no certificate here\n");
    says("holds no certificate");
    lay_out(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    says("cannot be trusted");
}

#[expect(clippy::disallowed_methods, reason = "a test lays out its files")]
fn lay_out(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}
