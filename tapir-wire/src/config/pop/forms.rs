//! Values that may be written in a short and in a long form.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Whether nothing else was said: then nothing is written either, and older sidecars can read it.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a text that should be an address is answered with.
pub(super) const ADDRESS: &str = "an address with port, as 127.0.0.1:5359 or [::1]:5359";

pub(super) fn address<E: Error>(text: &str) -> Result<SocketAddr, E> {
    text.parse().map_err(|_| E::custom(format_args!("expected {ADDRESS}")))
}

/// One address, or a list of them.
pub(super) mod one_or_many {
    use serde::{Serialize as _, Serializer};

    use super::*;

    pub(crate) fn serialize<S: Serializer>(addresses: &[SocketAddr], serializer: S) -> Result<S::Ok, S::Error> {
        match addresses {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
        deserializer.deserialize_any(Addresses)
    }

    struct Addresses;

    impl<'de> Visitor<'de> for Addresses {
        type Value = Vec<SocketAddr>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{ADDRESS}, or a list of them")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![address(text)?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
}

/// Reads an address alone, or a map with an address in it.
pub(super) fn address_or_map<'de, D, T, M>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<SocketAddr> + From<M>,
    M: Deserialize<'de>,
{
    deserializer.deserialize_any(AddressOrMap::<T, M>(PhantomData))
}

struct AddressOrMap<T, M>(PhantomData<(T, M)>);

impl<'de, T: From<SocketAddr> + From<M>, M: Deserialize<'de>> Visitor<'de> for AddressOrMap<T, M> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ADDRESS}, or a map with such an address")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        address(text).map(T::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(T::from)
    }
}
