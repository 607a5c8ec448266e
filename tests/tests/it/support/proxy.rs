//! A cable between hosts and a broker that a test can cut: a TCP proxy that forwards nothing while it is cut, and loses nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// Time between two looks at whether the cable is cut or gone.
const LOOK: Duration = Duration::from_millis(5);

/// The cable. What it carries ends when it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    gone: AtomicBool,
}

impl State {
    /// Waits until the cable is whole; returns false if it is gone.
    fn is_whole(&self) -> bool {
        while self.cut.load(Ordering::SeqCst) && !self.gone.load(Ordering::SeqCst) {
            sleep(LOOK);
        }
        !self.gone.load(Ordering::SeqCst)
    }
}

impl Proxy {
    /// Leads to a port of this machine.
    pub fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("it is bound").port();
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        spawn(move || {
            while shared.is_whole() {
                match listener.accept() {
                    Ok((near, _)) => {
                        // Where nobody listens, whoever connects is told by the end of the connection.
                        if let Ok(far) = TcpStream::connect(("127.0.0.1", port)) {
                            forward(&near, &far, &shared);
                        }
                    }
                    Err(_) => sleep(LOOK),
                }
            }
        });
        Proxy { port: own, state }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.gone.store(true, Ordering::SeqCst);
    }
}

/// Starts two threads that carry what one side writes to the other.
fn forward(near: &TcpStream, far: &TcpStream, state: &Arc<State>) {
    for (from, to) in [(near, far), (far, near)] {
        let ends = (from.try_clone(), to.try_clone());
        let (from, to) = (ends.0.expect("a socket"), ends.1.expect("a socket"));
        let state = Arc::clone(state);
        spawn(move || carry(from, to, &state));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut bytes = vec![0; 64 << 10];
    let _ = (from.set_nonblocking(false), to.set_nodelay(true));
    let _ = from.set_read_timeout(Some(LOOK * 10));
    while state.is_whole() {
        let count = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) => break,
        };
        if !state.is_whole() || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
