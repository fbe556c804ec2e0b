//! A small tool backend for the demonstration: a shop's customers, refunds and messages, kept in memory, and its mailbox.
//!
//! It knows nothing of Holdpoint and does what it is told, which is the point: what it did shows in `GET /ledger`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::mailbox::{self, Mail};

/// The most entries the ledger keeps; the oldest go first.
const LEDGER_MAX: usize = 1000;

/// A customer of the shop.
#[derive(Debug, Clone, Serialize)]
struct Customer {
    name: &'static str,
    paid_usd: u64,
}

/// What the shop has done.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    number: u64,
    what: &'static str,
    detail: Value,
}

/// What the demonstration's tools work on.
#[derive(Debug)]
pub(super) struct Shop {
    customers: BTreeMap<String, Customer>,
    ledger: Vec<Entry>,
    done: u64,
    pub(super) mails: Vec<Mail>,
}

/// The shop, as the handlers share it.
pub(super) type Shared = Arc<Mutex<Shop>>;
type Answer = (StatusCode, Json<Value>);

#[derive(Debug, Deserialize)]
struct Refund {
    customer: String,
    amount_usd: f64,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Payout {
    destination: String,
    amount_usd: f64,
}

#[derive(Debug, Deserialize)]
struct Message {
    to: String,
    subject: String,
    #[serde(default)]
    body: String,
}

impl Shop {
    /// Notes what was done; its number.
    pub(super) fn write(&mut self, what: &'static str, detail: Value) -> u64 {
        self.done += 1;
        self.ledger.push(Entry { number: self.done, what, detail });
        if self.ledger.len() > LEDGER_MAX {
            self.ledger.remove(0);
        }
        self.done
    }
}

/// The shop, for as long as it is looked at or changed.
pub(super) fn lock(shop: &Shared) -> MutexGuard<'_, Shop> {
    // Each change is made whole before the next line can panic, so a poisoned shop is still a true one.
    shop.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The backend's routes over a fresh shop.
pub(super) fn router() -> Router {
    let customers = [
        ("c_17", Customer { name: "Ada Byron", paid_usd: 40 }),
        ("c_23", Customer { name: "Grace Murray", paid_usd: 95 }),
        ("c_42", Customer { name: "Katherine Coleman", paid_usd: 480 }),
    ];
    let shop = Shop {
        customers: customers.map(|(id, customer)| (id.to_owned(), customer)).into(),
        ledger: Vec::new(),
        done: 0,
        mails: mailbox::first(),
    };
    Router::new()
        .route("/customers", get(list))
        .route("/customers/{id}", delete(remove))
        .route("/refunds", post(refund))
        .route("/payouts", post(pay_out))
        .route("/messages", post(send))
        .route("/ledger", get(ledger))
        .route("/mcp", post(mailbox::answer))
        .with_state(Arc::new(Mutex::new(shop)))
}

async fn list(State(shop): State<Shared>) -> Json<Value> {
    Json(json!({ "customers": lock(&shop).customers }))
}

async fn ledger(State(shop): State<Shared>) -> Json<Value> {
    Json(json!({ "ledger": lock(&shop).ledger }))
}

async fn remove(State(shop): State<Shared>, Path(id): Path<String>) -> Answer {
    let mut shop = lock(&shop);
    match shop.customers.remove(&id) {
        Some(customer) => {
            let number = shop.write("customer deleted", json!({ "customer": id, "name": customer.name }));
            (StatusCode::OK, Json(json!({ "deleted": id, "entry": number })))
        }
        None => missing(&id),
    }
}

async fn refund(State(shop): State<Shared>, Json(refund): Json<Refund>) -> Answer {
    let mut shop = lock(&shop);
    if !shop.customers.contains_key(&refund.customer) {
        return missing(&refund.customer);
    }
    if !(refund.amount_usd > 0.0 && refund.amount_usd.is_finite()) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "amount_usd must be more than 0" })));
    }
    let detail = json!({ "customer": refund.customer, "amount_usd": refund.amount_usd, "reason": refund.reason });
    let number = shop.write("refund paid", detail);
    (StatusCode::CREATED, Json(json!({ "refund": format!("re_{number}"), "amount_usd": refund.amount_usd })))
}

async fn pay_out(State(shop): State<Shared>, Json(payout): Json<Payout>) -> Answer {
    if !(payout.amount_usd > 0.0 && payout.amount_usd.is_finite()) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "amount_usd must be more than 0" })));
    }
    let detail = json!({ "destination": payout.destination, "amount_usd": payout.amount_usd });
    let number = lock(&shop).write("paid out", detail);
    (StatusCode::CREATED, Json(json!({ "payout": format!("po_{number}"), "amount_usd": payout.amount_usd })))
}

async fn send(State(shop): State<Shared>, Json(message): Json<Message>) -> Answer {
    let characters = message.body.chars().count();
    let detail = json!({ "to": message.to, "subject": message.subject, "characters": characters });
    let number = lock(&shop).write("message sent", detail);
    (StatusCode::ACCEPTED, Json(json!({ "message": format!("msg_{number}") })))
}

fn missing(id: &str) -> Answer {
    (StatusCode::NOT_FOUND, Json(json!({ "error": format!("there is no customer `{id}`") })))
}
