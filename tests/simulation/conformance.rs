//! The model store is held to the suite that every store passes; all of it but tools, of which it keeps none.

#[path = "../it/store_conformance/commands.rs"]
mod commands;
#[path = "../it/store_conformance/parking.rs"]
mod parking;
#[path = "../it/store_conformance/races.rs"]
mod races;
#[path = "../it/store_conformance/reading.rs"]
mod reading;
#[path = "../it/store_conformance/samples.rs"]
mod samples;
#[path = "../it/store_conformance/suite.rs"]
mod suite;

use std::sync::Arc;

use holdpoint::store::Store;

use crate::model::Model;

#[tokio::test]
async fn the_model_store_does_what_every_store_must() {
    let make = || Arc::new(Model::default()) as Arc<dyn Store>;
    suite::every_case(make).await;
}
