//! Every form in which an address could stand somewhere, and the search for all of them at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tapir_edm::pseudonym::{CryptoPan, Key, Pseudonym, SentAddress};

use super::dnstap::octets;
use super::load::{COOKIE, Client};

/// Octets at the front of each form, by which they are found.
const HEAD: usize = 4;

/// All forms, of all clients.
pub(super) struct Search {
    forms: HashMap<Vec<u8>, String>,
    by_head: HashMap<[u8; HEAD], Vec<Vec<u8>>>,
}

impl Search {
    /// Addresses and pseudonyms of them.
    pub(super) fn for_all(clients: &[Client], secret: &str, salt: &str) -> Self {
        let (mut search, pan) = (Self::for_addresses(clients), CryptoPan::new(&Key::derive(secret, salt).unwrap()));
        for client in clients {
            let pseudonym = match pan.of(SentAddress::of(&octets(client.0))).unwrap() {
                Pseudonym::V4(octets) => IpAddr::from(octets),
                Pseudonym::V6(octets) => IpAddr::from(octets),
            };
            search.add_address(pseudonym, &format!("the client {} as {pseudonym}", client.0));
        }
        search
    }

    /// Addresses alone.
    pub(super) fn for_addresses(clients: &[Client]) -> Self {
        let mut search = Self { forms: HashMap::new(), by_head: HashMap::new() };
        for client in clients {
            let who = format!("the client {}", client.0);
            search.add_address(client.0, &who);
            if let Some(inner) = client.inner() {
                search.add_address(inner.into(), &who);
            }
            search.add_octets(&client.hash().to_be_bytes(), &format!("{who}, hashed"));
            search.add_octets(&client.hash().to_le_bytes(), &format!("{who}, hashed"));
            search.add(client.hash().to_string(), &format!("{who}, hashed"));
        }
        search.add_octets(&COOKIE, "a cookie");
        search.add_octets(&COOKIE[..8], "half a cookie");
        search
    }

    fn add_address(&mut self, address: IpAddr, who: &str) {
        self.add_octets(&octets(address), who);
        let mut reversed = octets(address);
        reversed.reverse();
        self.add_octets(&reversed, &format!("{who}, reversed"));
        match address {
            IpAddr::V4(address) => self.add_v4(address, who),
            IpAddr::V6(address) => self.add_v6(address, who),
        }
    }

    fn add_v4(&mut self, address: Ipv4Addr, who: &str) {
        let mapped = address.to_ipv6_mapped();
        self.add_octets(&mapped.octets(), &format!("{who}, mapped"));
        self.add(mapped.to_string(), who);
        let [a, b, c, d] = address.octets();
        for (order, [a, b, c, d]) in [("", [a, b, c, d]), (", reversed", [d, c, b, a])] {
            let who = format!("{who}{order}");
            for separator in [".", "-", "_", "x", ", ", ",", ":", "\\."] {
                self.add([a, b, c, d].map(|octet| octet.to_string()).join(separator), &who);
            }
            self.add(format!("{a:03}{b:03}{c:03}{d:03}"), &who);
            self.add(format!("{a:03}-{b:03}-{c:03}-{d:03}"), &who);
            self.add(format!("{a:03}.{b:03}.{c:03}.{d:03}"), &who);
            self.add(u32::from_be_bytes([a, b, c, d]).to_string(), &who);
            // As the product writes names and as Rust writes octets.
            for octets in [[a, b, c, d].map(|octet| format!("\\{octet:03}")), [a, b, c, d].map(|octet| format!("\\x{octet:02x}"))]
            {
                self.add(octets.concat(), &who);
            }
        }
    }

    fn add_v6(&mut self, address: Ipv6Addr, who: &str) {
        let text = address.to_string();
        self.add(text.clone(), who);
        self.add(text.replace(':', "-"), who);
        for separator in [":", "-", ".", ", "] {
            self.add(address.segments().map(|group| format!("{group:04x}")).join(separator), who);
            self.add(address.segments().map(|group| format!("{group:x}")).join(separator), who);
            self.add(address.octets().map(|octet| octet.to_string()).join(separator), who);
        }
        let nibbles: Vec<String> = hex::encode(address.octets()).chars().rev().map(String::from).collect();
        self.add(nibbles.join("."), who);
        self.add(nibbles.concat(), who);
        self.add(u128::from(address).to_string(), who);
        // The network is enough to know a household; a mapped address has none.
        if address.to_ipv4_mapped().is_none() {
            self.add_octets(&address.octets()[..8], &format!("the network of {who}"));
        }
    }

    /// As they are, in hexadecimal, and wherever they may begin in base64.
    fn add_octets(&mut self, octets: &[u8], who: &str) {
        self.add(octets.to_vec(), who);
        self.add(hex::encode(octets), who);
        for before in 0..3 {
            let padded = [&vec![0; before][..], octets].concat();
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let text = engine.encode(&padded);
                // Without the characters that have bits of what stands before and behind.
                let inner = &text[(before * 8).div_ceil(6)..padded.len() * 8 / 6];
                // Of four octets five characters are left: too few to mean anything in a long text.
                if inner.len() >= 8 {
                    self.add(inner, &format!("{who}, in base64"));
                }
            }
        }
    }

    fn add(&mut self, form: impl Into<Vec<u8>>, who: &str) {
        let form = form.into();
        let head = *form.first_chunk().unwrap();
        if self.forms.insert(form.clone(), who.to_owned()).is_none() {
            self.by_head.entry(head).or_default().push(form);
        }
    }

    pub(super) fn forms(&self) -> usize {
        self.forms.len()
    }

    /// What is found, in octets as they are and in lower case.
    pub(super) fn find<'a>(&'a self, octets: &[u8]) -> impl Iterator<Item = String> + 'a {
        let mut found = std::collections::BTreeSet::new();
        for octets in [octets, &octets.to_ascii_lowercase()] {
            for place in 0..octets.len() {
                let rest = &octets[place..];
                let forms = rest.first_chunk().and_then(|head| self.by_head.get(head));
                for form in forms.into_iter().flatten().filter(|form| rest.starts_with(form)) {
                    found.insert(format!("{} ({})", self.forms[form], form.escape_ascii()));
                }
            }
        }
        found.into_iter()
    }
}

#[test]
fn it_finds_what_is_there() {
    let clients = super::load::clients();
    let search = Search::for_all(&clients, "a secret", "and its salt");
    let found = |text: &[u8]| search.find(text).count() > 0;
    for text in [
        "from 198.51.100.130!",
        "dyn-198-51-100-131",
        "C6336483",
        "[198, 51, 100, 131]",
        "2001:DB8:77:88:a1b2:c3d4:e5f6:7001",
        "131.100.51.198.in-addr",
    ] {
        assert!(found(text.as_bytes()), "{text}");
    }
    assert!(found(b"\0\0\xc6\x33\x64\x83\0"));
    assert!(found(STANDARD_NO_PAD.encode([b"somewhere in it ", &octets(clients[70].0)[..], b" and on"].concat()).as_bytes()));
    assert!(found(&COOKIE));
    assert!(!found(b"198.51.100.129 is nobody, nor is \xc6\x33\x64"));
}
