//! Whether two listeners can have their addresses at the same time.

use std::net::{IpAddr, SocketAddr};

/// Whether one of them could not be bound once the other is. Port 0 is any free one.
pub fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    if one.port() != other.port() || one.port() == 0 {
        return false;
    }
    let [one, other] = [one, other].map(|address| address.ip().to_canonical());
    one == other || covers(one, other) || covers(other, one)
}

/// `0.0.0.0` is every IPv4 address, and `[::]` every address of either family: Linux binds both
/// unless a socket asks otherwise, and ours do not.
fn covers(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_clash_if_one_is_part_of_the_other() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("[::ffff:0.0.0.0]:80", "127.0.0.1:80", true),
            ("0.0.0.0:0", "0.0.0.0:0", false),
        ] {
            let [one, other] = [one, other].map(|address| address.parse().unwrap());
            assert_eq!((clash(one, other), clash(other, one)), (expected, expected), "{one} and {other}");
        }
    }

    #[test]
    fn what_the_kernel_binds_side_by_side_does_not_clash() {
        let texts = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"];
        let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        for &one in &addresses {
            // A machine may have no IPv6.
            let Ok(bound) = TcpListener::bind((one, 0)) else { continue };
            let one = bound.local_addr().unwrap();
            for &other in &addresses {
                let other = SocketAddr::new(other, one.port());
                if TcpListener::bind(other).is_ok() {
                    assert!(!clash(one, other), "{one} and {other}");
                }
            }
        }
    }
}
