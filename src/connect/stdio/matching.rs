//! Which POST a message of the child belongs to. Pure: what stands for a POST is the caller's.

use std::collections::HashMap;

use super::message::{CANCELLED, Id, Kind, Mention, Message, Spot};

/// What requests are called towards the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// As their sender calls them: one client has the child for itself.
    Kept,
    /// By names that are unique, for ids and progress tokens: several clients share the child and count alike.
    Unique,
}

/// Requests that wait for their answers.
#[derive(Debug)]
pub(super) struct Matching<P> {
    naming: Naming,
    /// How many requests there were.
    count: u64,
    posts: HashMap<Id, Post<P>>,
    tokens: HashMap<Id, Id>,
}

#[derive(Debug)]
struct Post<P> {
    number: u64,
    post: P,
    /// The id and the token as the sender calls them.
    id: Id,
    token: Option<Id>,
    /// The id and the token as the child knows them.
    id_sent: Id,
    token_sent: Option<Id>,
}

/// A request that now waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// What the child is sent.
    pub(super) line: String,
    /// The request, for [`Matching::end`].
    pub(super) ticket: Ticket,
}

/// Names one request that waits or waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    number: u64,
    /// Its id as the child knows it.
    pub(super) id: Id,
}

/// The same sender already waits for an answer to a request of this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request with this id is still being answered")]
pub(super) struct IdInUse;

/// Where a message of the child goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination<P> {
    /// It is the answer of this POST, which waits no more.
    Answer(P),
    /// It belongs to this POST, which goes on waiting.
    Related(P),
    /// It belongs to no POST.
    Unrelated,
    /// It answers a request that nobody waits for.
    Stray,
}

impl<P: Clone> Matching<P> {
    /// Nothing waits yet.
    pub(super) fn new(naming: Naming) -> Self {
        Self { naming, count: 0, posts: HashMap::new(), tokens: HashMap::new() }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Lets a request wait.
    pub(super) fn begin(&mut self, request: &Message, spot: &Spot, post: P) -> Result<Begun, IdInUse> {
        let number = self.count;
        let (id, token_sent, line) = match self.naming {
            Naming::Kept => {
                (spot.id.clone(), request.token.as_ref().map(|token| token.id.clone()), request.line.clone())
            }
            Naming::Unique => {
                // A text, because some servers turn an id into one when they speak of it.
                let name = Id::Text(format!("holdpoint-{number}").into());
                let places = [Some(&spot.at), request.token.as_ref().map(|token| &token.at)];
                let names = places.into_iter().flatten().map(|at| (at, name.to_json())).collect();
                (name.clone(), request.token.as_ref().map(|_| name), request.exchanged(names))
            }
        };
        if self.posts.contains_key(&id) {
            return Err(IdInUse);
        }
        self.count += 1;
        if let Some(token) = &token_sent {
            // A token that is used twice speaks of the request that used it last.
            self.tokens.insert(token.clone(), id.clone());
        }
        let token = request.token.as_ref().map(|token| token.id.clone());
        let post = Post { number, post, id: spot.id.clone(), token, id_sent: id.clone(), token_sent };
        self.posts.insert(id.clone(), post);
        Ok(Begun { line, ticket: Ticket { number, id } })
    }

    /// The request waits no more; `None` when it has been answered before.
    pub(super) fn end(&mut self, ticket: &Ticket) -> Option<P> {
        if self.posts.get(&ticket.id)?.number != ticket.number {
            return None;
        }
        self.remove(&ticket.id).map(|post| post.post)
    }

    /// Where a message of the child goes, and its text as the receiver is to read it. `listening`: somebody listens to what
    /// belongs to no POST.
    pub(super) fn route(&mut self, message: &Message, listening: bool) -> (Destination<P>, String) {
        match &message.kind {
            Kind::Response { id, .. } => {
                let answered = id.as_ref().and_then(|spot| self.remove(&spot.id));
                match answered {
                    Some(post) => {
                        let text = post.restored(message, self.naming);
                        (Destination::Answer(post.post), text)
                    }
                    None => (Destination::Stray, message.line.clone()),
                }
            }
            // The child's own request, and what takes it back, go the same way.
            Kind::Request { .. } => (self.asked(listening), message.line.clone()),
            Kind::Notification { method } if method == CANCELLED && self.naming == Naming::Kept => {
                (self.asked(listening), message.line.clone())
            }
            Kind::Notification { .. } => match self.mentioned(message) {
                Some(post) => (Destination::Related(post.post.clone()), post.restored(message, self.naming)),
                None => (Destination::Unrelated, message.line.clone()),
            },
        }
    }

    /// Who hears what the child asks. Over stdio nothing says which request made it ask: with one there is no doubt; with
    /// several, whoever listens for such messages does, or else the newest. Among clients that share a child nobody does.
    fn asked(&self, listening: bool) -> Destination<P> {
        let newest = self.posts.values().max_by_key(|post| post.number);
        let sure = self.naming == Naming::Kept && (self.posts.len() == 1 || !listening);
        let post = newest.filter(|_| sure);
        post.map_or(Destination::Unrelated, |post| Destination::Related(post.post.clone()))
    }

    /// Takes out the request with this id, as the child knows it.
    pub(super) fn take(&mut self, id: &Id) -> Option<P> {
        self.remove(id).map(|post| post.post)
    }

    /// Takes out everything that waits.
    pub(super) fn take_all(&mut self) -> Vec<P> {
        self.tokens.clear();
        self.posts.drain().map(|(_, post)| post.post).collect()
    }

    fn mentioned(&self, message: &Message) -> Option<&Post<P>> {
        message.mentions.iter().find_map(|(mention, spot)| {
            let id = match mention {
                Mention::Token => self.tokens.get(&spot.id)?,
                Mention::Request => &spot.id,
            };
            self.posts.get(id)
        })
    }

    fn remove(&mut self, id: &Id) -> Option<Post<P>> {
        let post = self.posts.remove(id)?;
        if let Some(token) = post.token_sent.as_ref().filter(|token| self.tokens.get(token) == Some(id)) {
            self.tokens.remove(token);
        }
        Some(post)
    }
}

impl<P> Post<P> {
    /// The child's text with the sender's own names in it.
    fn restored(&self, message: &Message, naming: Naming) -> String {
        if naming == Naming::Kept {
            return message.line.clone();
        }
        let mut names = Vec::new();
        if let Kind::Response { id: Some(spot), .. } = &message.kind {
            names.push((&spot.at, self.id.to_json()));
        }
        for (mention, spot) in message.mentions.iter().filter(|(_, spot)| spot.id == self.id_sent) {
            let own = match mention {
                Mention::Token => self.token.as_ref().unwrap_or(&self.id),
                Mention::Request => &self.id,
            };
            names.push((&spot.at, own.to_json()));
        }
        message.exchanged(names)
    }
}

#[cfg(test)]
mod tests;
