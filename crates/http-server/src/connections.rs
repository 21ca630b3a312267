//! Connections: so many at once, each of which must send its requests and take its answers without delay.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::{Ends, limits::Limits};

/// Bytes that the head of a request may have.
const LARGEST_HEAD: usize = 64 << 10;
/// Pause after a connection that could not be accepted, as when there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// What a connection gets that is one too many.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Serves the connections to `listener` until `asked_to_end`. Answers under way then have some time; `ended` ends them and
/// all that waits.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    asked_to_end: impl Future<Output = ()>,
    ended: &CancellationToken,
) {
    let open = Open::new(limits);
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.read_time).max_buf_size(LARGEST_HEAD);
    let mut asked_to_end = std::pin::pin!(asked_to_end);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut asked_to_end => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = open.take(peer.ip()) else {
            let _ = stream.try_write(FULL);
            continue;
        };
        let Ok(ends) = ends(&stream, peer.ip()) else { continue };
        let router = router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ends);
            TowerToHyperService::new(router.clone()).call(request.map(Body::new))
        });
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_time));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!("a connection broke: {error}");
            }
        });
    }
    drop(listener);
    let end_streams = async {
        tokio::time::sleep(limits.grace).await;
        ended.cancel();
        tokio::time::sleep(limits.grace).await;
    };
    tokio::select! {
        () = graceful.shutdown() => {}
        () = end_streams => {}
    }
    ended.cancel();
}

fn ends(stream: &TcpStream, peer: IpAddr) -> io::Result<Ends> {
    stream.set_nodelay(true)?;
    Ok(Ends { peer: peer.to_canonical(), local: stream.local_addr()?.ip().to_canonical() })
}

/// How many connections there are, in all and of each address beyond this machine.
#[derive(Clone)]
struct Open {
    most: usize,
    most_per_address: usize,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Open {
    fn new(limits: &Limits) -> Self {
        let &Limits { connections: most, connections_per_address: most_per_address, .. } = limits;
        Self { most, most_per_address, by_address: Arc::default() }
    }

    /// A place for one more connection of `address`, when there is one.
    fn take(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = open.get(&address).copied().unwrap_or_default();
        let is_full = open.values().sum::<usize>() >= self.most
            || (!address.is_loopback() && of_address >= self.most_per_address);
        if is_full {
            return None;
        }
        open.insert(address, of_address + 1);
        Some(Place { address, by_address: Arc::clone(&self.by_address) })
    }
}

/// The place of a connection, free again when it is dropped.
struct Place {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = open.get_mut(&self.address) {
            *number -= 1;
            if *number == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_for_each_address_beyond_this_machine() {
        let limits = Limits { connections: 5, connections_per_address: 2, ..Limits::default() };
        let open = Open::new(&limits);
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 168, 1, 5]));
        let two: Vec<_> = (0..2).map(|_| open.take(there).unwrap()).collect();
        assert!(open.take(there).is_none());
        let three: Vec<_> = (0..3).map(|_| open.take(here).unwrap()).collect();
        assert!(open.take(here).is_none());
        drop(two);
        assert!(open.take(there).is_some());
        drop(three);
        assert!(open.by_address.lock().unwrap().is_empty());
    }
}
