//! Bodies as narrow as the document says: serde's derived readers also take an object written as the list of its members, and a name
//! written as `{"name": null}`. What the document does not say is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A `T` that is written as an object.
pub(in crate::api) struct Object<T>(pub(in crate::api) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// For `deserialize_with`: a member that is an object, or null.
pub(super) fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let read: Option<Object<T>> = Deserialize::deserialize(deserializer)?;
    Ok(read.map(|Object(value)| value))
}

/// For `deserialize_with`: a member that is a list of objects, or null.
pub(super) fn optional_objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let read: Option<Vec<Object<T>>> = Deserialize::deserialize(deserializer)?;
    Ok(read.map(|objects| objects.into_iter().map(|Object(value)| value).collect()))
}

/// For `deserialize_with`: one of the names of an enumeration, as a string.
pub(super) fn name<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let text = String::deserialize(deserializer)?;
    T::deserialize(StrDeserializer::<D::Error>::new(&text)).map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use super::super::policy::{CallDescription, Simulate};
    use super::super::{BulkDecide, Decide, Resolve};
    use super::*;

    fn reads<T: serde::de::DeserializeOwned>(body: &str) -> bool {
        serde_json::from_str::<Object<T>>(body).is_ok()
    }

    #[test]
    fn an_object_written_as_a_list_is_refused() {
        assert!(reads::<Decide>(r#"{"decision":"approved"}"#));
        assert!(!reads::<Decide>(r#"["approved",null,null]"#));
        assert!(reads::<CallDescription>(r#"{"tool":"t","annotations":{"readOnlyHint":true}}"#));
        assert!(reads::<CallDescription>(r#"{"tool":"t","args":{"n":1.50},"annotations":null}"#));
        assert!(!reads::<CallDescription>(r#"{"tool":"t","annotations":[null,null]}"#));
        assert!(reads::<Simulate>(r#"{"policy":"","calls":[{"tool":"t"}]}"#));
        assert!(!reads::<Simulate>(r#"{"policy":"","calls":[["t"]]}"#));
    }

    #[test]
    fn a_name_written_as_an_object_is_refused() {
        assert!(!reads::<Decide>(r#"{"decision":{"approved":null}}"#));
        assert!(!reads::<BulkDecide>(r#"{"ids":[],"decision":{"approved":null}}"#));
        assert!(reads::<Resolve>(r#"{"outcome":"committed","note":"n"}"#));
        assert!(!reads::<Resolve>(r#"{"outcome":{"committed":null},"note":"n"}"#));
    }
}
