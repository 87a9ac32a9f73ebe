//! A real HTTP server on loopback that says what a script tells it, one reply a connection; the last reply is
//! repeated. It remembers what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Says nothing for so long, then closes.
    Hang(Duration),
    /// Closes at once.
    Reset,
    /// Answers the request's body with the text that a rule makes of it.
    #[allow(dead_code)] // not every test that shares this file has a rule
    Think(fn(&serde_json::Value) -> String),
}

impl Reply {
    pub(crate) fn status(code: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head =
            format!("HTTP/1.1 {code} Scripted\r\nContent-Type: application/json\r\nConnection: close\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        Self::Bytes(head.into_bytes())
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::status(200, &[], &body.to_string())
    }
}

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: serde_json::Value,
}

pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// An empty script is a server that is gone already.
    pub(crate) fn new(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (heard, stopped) = (requests.clone(), stop.clone());
        let thread = (!script.is_empty()).then(|| {
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut stream = stream.unwrap();
                    let Some(request) = receive(&mut stream) else { continue };
                    let mut heard = heard.lock().unwrap();
                    let reply = script[heard.len().min(script.len() - 1)].clone();
                    let body = request.body.clone();
                    heard.push(request);
                    drop(heard);
                    // A slow reply must not keep the next connection waiting.
                    std::thread::spawn(move || respond(stream, reply, &body));
                }
            })
        });
        Self { address, requests, stop, thread }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn respond(mut stream: TcpStream, reply: Reply, body: &serde_json::Value) {
    match reply {
        Reply::Think(rule) => {
            let message = serde_json::json!({"role": "assistant", "content": rule(body)});
            let choices = serde_json::json!([{"message": message, "finish_reason": "stop"}]);
            let usage = serde_json::json!({"prompt_tokens": 100, "completion_tokens": 10});
            respond(stream, Reply::json(&serde_json::json!({"choices": choices, "usage": usage})), body);
        }
        // A client that has read enough may close first.
        Reply::Bytes(bytes) => _ = stream.write_all(&bytes),
        Reply::Hang(time) => std::thread::sleep(time),
        Reply::Reset => {}
    }
}

fn receive(stream: &mut TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let length: usize = length.unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).unwrap();
                return Some(Request { head, body });
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}
