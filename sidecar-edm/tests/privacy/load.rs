//! Clients, and everything that they could be betrayed by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tapir_edm::histogram::hash;

use super::dnstap::{Response, answer, octets, with_options};

/// What pseudonyms are made of, should any be made.
pub(super) const SECRET: &str = "the operator's secret";
pub(super) const SALT: &str = "edm-kdf-salt-val";
/// Recognised wherever it turns up.
pub(super) const COOKIE: [u8; 24] =
    *b"\xc0\x0c\x1e\xaa\xfe\xed\x5e\xed\x91\x82\x73\x64\x55\x46\x37\x28\x19\x0a\xfb\xec\xdd\xce\xbf\xa0";
/// A domain that all ask for, and one that three ask for.
pub(super) const LIST: [&str; 2] = [".example.net.", "example.com."];
const FEW: usize = 3;
const EACH: u8 = 60;

#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr, usize);

impl Client {
    pub(super) fn hash(&self) -> u64 {
        hash(&octets(self.0))
    }

    /// As sketches take it: a mapped address is one of IPv4.
    pub(super) fn is_v4(&self) -> bool {
        self.inner().is_some()
    }

    pub(super) fn inner(&self) -> Option<Ipv4Addr> {
        match self.0 {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(address) => address.to_ipv4_mapped(),
        }
    }
}

/// Of both families, and mapped ones.
pub(super) fn clients() -> Vec<Client> {
    let v4 = (0..EACH).map(|host| IpAddr::from(Ipv4Addr::new(198, 51, 100, 130 + host)));
    let v6 =
        (0..EACH).map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0x88, 0xa1b2, 0xc3d4, 0xe5f6, 0x7000 + u16::from(host)).into());
    let mapped = (0..4).map(|host| Ipv4Addr::new(203, 0, 113, 201 + host).to_ipv6_mapped().into());
    v4.chain(v6).chain(mapped).enumerate().map(|(place, address)| Client(address, place)).collect()
}

/// Others, of the same networks and elsewhere.
pub(super) fn controls(is_v4: bool) -> Vec<Client> {
    let address = |number: u16| -> IpAddr {
        let [high, low] = number.to_be_bytes();
        if is_v4 {
            Ipv4Addr::new(10, 66, high, low).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0x99, 0, 0, 0, number).into()
        }
    };
    (0..4096).map(|number| Client(address(number), usize::MAX)).collect()
}

/// Who asked for the domain of a row.
pub(super) fn asked_for<'a>(labels: &[&str], clients: &'a [Client]) -> impl Iterator<Item = &'a Client> {
    let few = labels != ["com", "example"];
    clients.iter().filter(move |client| !few || client.1 < FEW)
}

/// All answers.
pub(super) fn frames(clients: &[Client]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for client in clients {
        let mut add = |name: &[u8]| {
            let response = Response {
                server: Some(vec![192, 0, 2, 53]),
                identity: Some(b"resolver".to_vec()),
                ..Response::to(client.0, message(name, client.0))
            };
            frames.push(response.frame());
        };
        add(b"ExAmPlE.com");
        add(b"EXAMPLE.com");
        if client.1 < FEW {
            add(b"few.example.net");
        }
        names_beside(client).iter().for_each(|name| add(name));
        // What cannot be read makes somebody complain.
        let address = octets(client.0);
        frames.push(address.clone());
        frames.push(Response::to(client.0, address.clone()).frame());
        frames
            .push(Response { message: [&answer(b"cut")[..10], &address].concat(), ..Response::to(client.0, Vec::new()) }.frame());
        frames.push(
            Response { client: Some([address.clone(), vec![1]].concat()), ..Response::to(client.0, answer(b"ExAmPlE.com")) }
                .frame(),
        );
    }
    frames
}

/// What a client asks for that is on no list.
pub(super) fn names_beside(client: &Client) -> Vec<Vec<u8>> {
    let plain = (client.1 < 5).then(|| format!("plain{}.example", client.1).into_bytes());
    plain.into_iter().chain(names_with(client.0)).collect()
}

/// With the client's subnet, whole and in part, and a cookie.
fn message(name: &[u8], client: IpAddr) -> Vec<u8> {
    let (family, bits, all) = (if client.is_ipv4() { 1 } else { 2 }, if client.is_ipv4() { 32 } else { 128 }, octets(client));
    let whole = [&[0, family, bits, bits][..], &all].concat();
    let part = [&[0, family, 24, 0][..], &all[..3]].concat();
    with_options(answer(name), &[(8, &whole), (8, &part), (10, &COOKIE)])
}

/// Names that carry the address.
fn names_with(client: IpAddr) -> Vec<Vec<u8>> {
    let mut names = names_of(client);
    if let IpAddr::V6(address) = client
        && let Some(inner) = address.to_ipv4_mapped()
    {
        names.extend(names_of(inner.into()));
    }
    names
}

fn names_of(client: IpAddr) -> Vec<Vec<u8>> {
    let all = octets(client);
    let reversed: Vec<u8> = all.iter().rev().copied().collect();
    let in_lower = hex::encode(&all);
    let backwards: String = in_lower.chars().rev().collect();
    let mut names: Vec<Vec<u8>> = vec![
        format!("h{in_lower}.isp1.example").into(),
        format!("{}.isp2.example", in_lower.to_uppercase()).into(),
        format!("{}.isp3.example", hex::encode(&reversed)).into(),
        format!("{backwards}.isp4.example").into(),
    ];
    // Octets as they are; a dot among them would be the end of a label.
    if !all.contains(&b'.') {
        names.extend([[&all[..], &b".isp5.example"[..]].concat(), [&reversed[..], &b".isp6.example"[..]].concat()]);
    }
    match client {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            names.extend(
                [
                    format!("{a}.{b}.{c}.{d}.isp7.example"),
                    format!("dyn-{a}-{b}-{c}-{d}.isp8.example"),
                    format!("{d}.{c}.{b}.{a}.isp9.example"),
                    format!("{d}-{c}-{b}-{a}-pool.isp10.example"),
                    format!("{a:03}{b:03}{c:03}{d:03}.isp11.example"),
                    format!("{a:03}-{b:03}-{c:03}-{d:03}.isp12.example"),
                    format!("n{}.isp13.example", u32::from(address)),
                    format!("{a:x}-{b:x}-{c:x}-{d:x}.isp14.example"),
                    format!("{d}.{c}.{b}.{a}.in-addr.arpa"),
                    format!("{d}.{c}.{b}.{a}.IN-ADDR.ARPA"),
                    format!("host{a}x{b}x{c}x{d}.home.arpa"),
                ]
                .map(String::into_bytes),
            );
        }
        IpAddr::V6(address) => {
            let nibbles: Vec<String> = backwards.chars().map(String::from).collect();
            let groups = |separator: &str, full: bool| {
                let group = |group: u16| if full { format!("{group:04x}") } else { format!("{group:x}") };
                address.segments().map(group).join(separator)
            };
            names.extend(
                [
                    format!("{}.isp7.example", groups("-", false)),
                    format!("{}.isp8.example", groups("-", true)),
                    format!("{}.isp9.example", groups(".", false)),
                    format!("x{}.isp10.example", address.to_string().replace([':', '.'], "-")),
                    format!("{}.ip6.arpa", nibbles.join(".")),
                    format!("{}.isp11.example", nibbles.join(".")),
                ]
                .map(String::into_bytes),
            );
        }
    }
    names
}

/// Connections that begin with what is no handshake, the address in it.
pub(super) fn liars(clients: &[Client]) -> Vec<Vec<u8>> {
    let lie = |client: &Client| {
        let text = client.0.to_string().into_bytes();
        let field = [&[0, 0, 0, 4, 0, 0, 0, 1][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), &text].concat();
        [&[0; 4][..], &u32::try_from(field.len()).unwrap().to_be_bytes(), &field].concat()
    };
    clients.iter().step_by(20).map(lie).collect()
}
