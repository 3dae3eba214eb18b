//! A way to a server that can be closed, frozen and led elsewhere, at an address that stays: a network that fails.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    To(SocketAddr),
    /// They end, and new ones end at once.
    Closed,
    /// Those that are open say nothing more; new ones go to this address.
    Frozen(SocketAddr),
}

pub struct Gate {
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    frozen: Arc<Mutex<Vec<(TcpStream, TcpStream)>>>,
}

impl Gate {
    pub async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, ways) = watch::channel(way);
        let frozen = Arc::default();
        tokio::spawn(accept(listener, ways, Arc::clone(&frozen)));
        Self { address, way: sender, frozen }
    }

    /// Sends connections another way; those that are open end, or freeze.
    pub fn turn(&self, way: Way) {
        self.way.send_replace(way);
        if way == Way::Closed {
            self.frozen.lock().expect("no panic").clear();
        }
    }
}

async fn accept(listener: TcpListener, ways: watch::Receiver<Way>, frozen: Arc<Mutex<Vec<(TcpStream, TcpStream)>>>) {
    loop {
        let Ok((mut inner, _)) = listener.accept().await else { return };
        let (mut ways, frozen) = (ways.clone(), Arc::clone(&frozen));
        let (Way::To(to) | Way::Frozen(to)) = *ways.borrow_and_update() else { continue };
        tokio::spawn(async move {
            let Ok(mut outer) = TcpStream::connect(to).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut inner, &mut outer) => {}
                turned = ways.changed() => {
                    if turned.is_ok() && matches!(*ways.borrow(), Way::Frozen(_)) {
                        frozen.lock().expect("no panic").push((inner, outer));
                    }
                }
            }
        });
    }
}
