//! The deserializer that writes down what it is asked for.

use std::ops::Range;

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::{ACTOR_REF, Ended, PAYLOAD, REPLY, Seen, Trace};
use crate::wire::shape::What;

/// Reads what stands at one place.
pub(super) struct Walker<'t> {
    pub(super) trace: &'t mut Trace,
    pub(super) at: usize,
}

/// Labels of parts that have no name.
const UNNAMED: [&str; 64] = [""; 64];
/// What has more parts than tuples have is an array.
const TUPLE_MAX: usize = 16;

impl<'t> Walker<'t> {
    fn again(&mut self, at: usize) -> Walker<'_> {
        Walker { trace: self.trace, at }
    }

    fn value(&mut self, name: &str) -> Seen<()> {
        self.trace.set(self.at, What::Value, name, &[])?;
        self.trace.made(self.at);
        Ok(())
    }

    /// Reads all parts, one after the other.
    fn product<'de, V: Visitor<'de>>(self, visitor: V) -> Seen<V::Value> {
        let Walker { trace, at } = self;
        let count = trace.places[at].parts.len();
        let value = visitor.visit_seq(Parts { trace, at, left: 0..count, count })?;
        trace.made(at);
        Ok(value)
    }

    /// Reads an array: its one part, again and again.
    fn array<'de, V: Visitor<'de>>(self, len: usize, visitor: V) -> Seen<V::Value> {
        let Walker { trace, at } = self;
        trace.set(at, What::Array, &len.to_string(), &UNNAMED[..1])?;
        let value = visitor.visit_seq(Parts { trace, at, left: 0..len, count: 1 })?;
        trace.made(at);
        Ok(value)
    }

    /// Reads one element, if there is something to be seen in it, else none.
    fn elements<T>(self, read: impl FnOnce(Parts<'_>) -> Seen<T>) -> Seen<T> {
        let Walker { trace, at } = self;
        let parts = trace.places[at].parts.clone();
        let unseen = parts.iter().copied().find(|&part| !trace.is_complete(part));
        let count = parts.len();
        let left = if unseen.is_some() { 0..count } else { 0..0 };
        if let Some(part) = unseen {
            trace.chosen.push(part);
        }
        let value = read(Parts { trace: &mut *trace, at, left, count });
        if let (Err(_), Some(part)) = (&value, unseen) {
            trace.refuse(part);
        }
        let value = value?;
        trace.made(at);
        Ok(value)
    }
}

/// What is read of the parts of one place.
struct Parts<'t> {
    trace: &'t mut Trace,
    at: usize,
    left: Range<usize>,
    /// How many parts there are; after the last one the first comes again.
    count: usize,
}

impl Parts<'_> {
    fn next<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<Option<S::Value>> {
        let Some(number) = self.left.next() else { return Ok(None) };
        let at = self.trace.part(self.at, number % self.count)?;
        seed.deserialize(Walker { trace: self.trace, at }).map(Some)
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Ended;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<Option<S::Value>> {
        self.next(seed)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Ended;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<Option<S::Value>> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<S::Value> {
        self.next(seed)?.ok_or(Ended)
    }
}

/// The variant that this reading goes into.
struct Chosen<'t> {
    walker: Walker<'t>,
    number: usize,
}

impl<'de, 't> EnumAccess<'de> for Chosen<'t> {
    type Error = Ended;
    type Variant = Walker<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Seen<(S::Value, Walker<'t>)> {
        let number = u32::try_from(self.number).map_err(|_| Ended)?;
        let variant: U32Deserializer<Ended> = number.into_deserializer();
        Ok((seed.deserialize(variant)?, self.walker))
    }
}

impl<'de> VariantAccess<'de> for Walker<'_> {
    type Error = Ended;

    fn unit_variant(self) -> Seen<()> {
        self.trace.set(self.at, What::Variant, "", &[])?;
        self.trace.made(self.at);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Seen<S::Value> {
        self.trace.set(self.at, What::Variant, "", &UNNAMED[..1])?;
        let (at, part) = (self.at, self.trace.part(self.at, 0)?);
        let value = seed.deserialize(self.again(part))?;
        self.trace.made(at);
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::Variant, "", UNNAMED.get(..len).ok_or(Ended)?)?;
        self.product(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Variant, "", fields)?;
        self.product(visitor)
    }
}

macro_rules! values {
    ($($read:ident $visit:ident $name:literal $made_up:expr),* $(,)?) => {$(
        fn $read<V: Visitor<'de>>(mut self, visitor: V) -> Seen<V::Value> {
            self.value($name)?;
            visitor.$visit($made_up)
        }
    )*};
}

impl<'de> Deserializer<'de> for Walker<'_> {
    type Error = Ended;

    values! {
        deserialize_bool visit_bool "bool" true,
        deserialize_i8 visit_i8 "i8" 1,
        deserialize_i16 visit_i16 "i16" 1,
        deserialize_i32 visit_i32 "i32" 1,
        deserialize_i64 visit_i64 "i64" 1,
        deserialize_i128 visit_i128 "i128" 1,
        deserialize_u8 visit_u8 "u8" 1,
        deserialize_u16 visit_u16 "u16" 1,
        deserialize_u32 visit_u32 "u32" 1,
        deserialize_u64 visit_u64 "u64" 1,
        deserialize_u128 visit_u128 "u128" 1,
        deserialize_f32 visit_f32 "f32" 1.0,
        deserialize_f64 visit_f64 "f64" 1.0,
        deserialize_char visit_char "char" 'a',
        deserialize_str visit_str "text" "a",
        deserialize_string visit_str "text" "a",
        // As many as an UUID has.
        deserialize_bytes visit_bytes "bytes" &[0; 16],
        deserialize_byte_buf visit_bytes "bytes" &[0; 16],
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Seen<V::Value> {
        self.value("unit")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Struct, name, &[])?;
        self.trace.made(self.at);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Seen<V::Value> {
        if name == PAYLOAD {
            self.value(name)?;
            return visitor.visit_unit();
        }
        self.trace.set(self.at, What::Struct, name, &UNNAMED[..1])?;
        if name == REPLY || name == ACTOR_REF {
            return self.product(visitor);
        }
        let (at, part) = (self.at, self.trace.part(self.at, 0)?);
        let value = visitor.visit_newtype_struct(self.again(part))?;
        self.trace.made(at);
        Ok(value)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::Option, "", &[""])?;
        let (at, some) = (self.at, self.trace.part(self.at, 0)?);
        let value = if self.trace.is_complete(some) {
            visitor.visit_none()?
        } else {
            self.trace.chosen.push(some);
            let value = visitor.visit_some(self.again(some));
            value.inspect_err(|_| self.trace.refuse(some))?
        };
        self.trace.made(at);
        Ok(value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::List, "", &[""])?;
        self.elements(|parts| visitor.visit_seq(parts))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::Map, "", &["key", "value"])?;
        self.elements(|parts| visitor.visit_map(parts))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Seen<V::Value> {
        if len > TUPLE_MAX {
            return self.array(len, visitor);
        }
        self.trace.set(self.at, What::Tuple, "", &UNNAMED[..len])?;
        self.product(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Struct, name, UNNAMED.get(..len).ok_or(Ended)?)?;
        self.product(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Struct, name, fields)?;
        self.product(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Enum, name, variants)?;
        let Walker { trace, at } = self;
        let parts = trace.places[at].parts.clone();
        let unseen = parts.iter().position(|&part| !trace.is_complete(part));
        let known = || parts.iter().position(|&part| trace.places[part].made);
        let number = unseen.or_else(known).ok_or(Ended)?;
        let variant = parts[number];
        trace.chosen.push(variant);
        let chosen = Chosen { walker: Walker { trace, at: variant }, number };
        let value = visitor.visit_enum(chosen);
        value.inspect_err(|_| trace.refuse(variant))
    }

    /// The wire's format does not describe itself: nothing that needs this travels.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Seen<V::Value> {
        self.trace.places[self.at].closed = true;
        Err(Ended)
    }

    forward_to_deserialize_any! { identifier ignored_any }

    fn is_human_readable(&self) -> bool {
        false
    }
}
