//! Loading: a file in, a [`Config`] or every problem out.
//!
//! The order is fixed: guard, shape, typed read, then meaning. A later step runs only where an earlier one left
//! something to work on, so that one slip is not reported three times.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Code, Diagnostic, Severity, Source, in_order};
use super::files;
use super::model::{self, ConfigModel, Mode};
use super::policies::{self, LoadedPolicies, Policies};
use super::resolve::{self, Context};
use super::secrets::Env;
use super::settings::{Config, StoreSettings};
use super::shape::{References, Shape};
use super::yaml::{self, Document, FILE_BYTES_MAX};
use crate::domain::policy::{CompiledPolicy, PathSegment};

#[cfg(test)]
mod tests;

/// Whether a configuration without reviewers is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reviewers {
    /// It is refused: nobody could decide.
    Required,
    /// It is accepted: someone signs in by another way, as in `demo`.
    Optional,
}

/// What loading gave.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; `None` exactly when an error is among the diagnostics.
    pub config: Option<Config>,
    /// Every problem, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// Every file and folder that was looked at, also on failure: a change of one means a reload.
    pub files_read: Vec<PathBuf>,
}

impl Loaded {
    /// Whether the configuration file itself could not be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.diagnostics.iter().any(|found| found.code == Code::ConfigUnreadable)
    }

    fn failed(diagnostics: Vec<Diagnostic>, files_read: Vec<PathBuf>) -> Self {
        Self { config: None, diagnostics: in_order(diagnostics), files_read }
    }
}

/// Loads the configuration at `path`. Relative paths in it start from its folder.
pub fn load(path: &Path, env: &dyn Env, reviewers: Reviewers) -> Loaded {
    let name = path.display().to_string();
    let files_read = vec![path.to_path_buf()];
    let bytes = match files::read_bounded(path, FILE_BYTES_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("`{name}` cannot be read: {error}");
            let found = Diagnostic::of_file(&name, Code::ConfigUnreadable, message);
            return Loaded::failed(vec![found.hint("name the configuration file with `-c FILE`")], files_read);
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        let found = Diagnostic::of_file(&name, Code::YamlSyntax, "the file is not UTF-8 text");
        return Loaded::failed(vec![found], files_read);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut loaded = load_text(&name, &text, folder, env, reviewers);
    loaded.files_read.splice(0..0, files_read);
    loaded
}

/// Loads a configuration from a text, as [`load`] does; `folder` is where relative paths start.
pub fn load_text(name: &str, text: &str, folder: &Path, env: &dyn Env, reviewers: Reviewers) -> Loaded {
    let source = Source::new(name, text);
    let text = source.text.clone();
    let mut document = match yaml::read(source) {
        Ok(document) => document,
        Err(found) => return Loaded::failed(found, Vec::new()),
    };
    let masked = document.source().masked(&secret_spans(&document));
    document.show_from(Arc::new(masked));

    let schema = model::schema();
    let shape = Shape { schema: &schema, formats: &model::FORMATS, references: References::Refused };
    let found = shape.problems(&document);
    if !found.is_empty() {
        return without_model(&document, found, folder);
    }
    match document.typed::<ConfigModel>(&text) {
        Ok(model) => resolved(&document, &model, folder, env, reviewers),
        Err(found) => without_model(&document, vec![found], folder),
    }
}

/// Loads `store` of the configuration at `path` alone, for commands on the store: a policy that does not load or a secret of
/// an upstream that is not set here keeps nobody from a backup.
///
/// # Errors
/// Every problem in the shape of the file and in `store`.
pub fn load_store(path: &Path, env: &dyn Env) -> Result<StoreSettings, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = match files::read_bounded(path, FILE_BYTES_MAX as u64) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned()),
        Err(error) => Err(format!("`{name}` cannot be read: {error}")),
    };
    let text = text.map_err(|message| {
        vec![Diagnostic::of_file(&name, Code::ConfigUnreadable, message).hint("name the configuration with `-c FILE`")]
    })?;
    let source = Source::new(&name, &text);
    let text = source.text.clone();
    let mut document = yaml::read(source)?;
    let masked = document.source().masked(&secret_spans(&document));
    document.show_from(Arc::new(masked));
    let schema = model::schema();
    let found =
        Shape { schema: &schema, formats: &model::FORMATS, references: References::Refused }.problems(&document);
    if !found.is_empty() {
        return Err(in_order(found));
    }
    let model = document.typed::<ConfigModel>(&text).map_err(|found| vec![found])?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = &mut Context { document: &document, env, folder, files: Vec::new(), found: Vec::new() };
    let store = resolve::store(context, &model.store);
    store.ok_or_else(|| in_order(std::mem::take(&mut context.found)))
}

/// The failure of a file whose shape is wrong. The policies that it names are looked at all the same, so that their
/// problems are told in the same report.
fn without_model(document: &Document, mut found: Vec<Diagnostic>, folder: &Path) -> Loaded {
    let listed = document.value().get("policies").and_then(serde_yaml::Value::as_sequence);
    let names = listed.into_iter().flatten().filter_map(serde_yaml::Value::as_str);
    let paths: Vec<_> = names.map(|name| policies::below(folder, name)).collect();
    let policies = policies::load_policies(&paths);
    found.extend(policies.diagnostics);
    Loaded::failed(found, policies.files_read)
}

fn resolved(document: &Document, model: &ConfigModel, folder: &Path, env: &dyn Env, required: Reviewers) -> Loaded {
    let context = &mut Context { document, env, folder, files: Vec::new(), found: Vec::new() };
    let proxy = resolve::proxy(context, &model.proxy);
    let admin = resolve::admin(context, &model.admin);
    let listeners = [model.proxy.listen.0, model.admin.listen.0];
    resolve::separate_listeners(context, listeners[0], listeners[1]);
    let store = resolve::store(context, &model.store);
    let agents = resolve::agents(context, &model.agents, model.anonymous);
    let reviewers = resolve::reviewers(context, &model.reviewers, required);
    let metrics_token_sha256 = resolve::metrics(context, &model.metrics, listeners[1].ip().is_loopback());
    resolve::distinct_tokens(context, &model.agents, &model.reviewers, &model.metrics);
    let upstreams = resolve::upstreams(context, &model.upstreams);
    let public_url = model.admin.public_url.as_ref().map(|url| &url.0);
    resolve::not_own_listeners(context, &model.upstreams, listeners, public_url);
    let routes = resolve::routes(context, &model.routes, &model.upstreams);
    let limits = resolve::limits(context, &model.limits);

    let paths: Vec<_> = model.policies.iter().map(|name| policies::below(folder, name)).collect();
    let LoadedPolicies { files, compiled, diagnostics, files_read } = policies::load_policies(&paths);
    context.found.extend(diagnostics);
    context.files.extend(files_read);
    if required == Reviewers::Required && !reviewers.is_empty() {
        context.found.extend(policies::gates::problems(&files, &reviewers));
    }
    let compiled = match model.mode {
        Mode::Enforce => compiled,
        Mode::Shadow => compiled.map(CompiledPolicy::in_shadow),
    };
    let policies = compiled.map(|compiled| Policies { files, compiled: Arc::new(compiled) });

    let diagnostics = in_order(std::mem::take(&mut context.found));
    let failed = diagnostics.iter().any(|found| found.severity == Severity::Error);
    let config = match (proxy, admin, store, policies) {
        (Some(proxy), Some(admin), Some(store), Some(policies)) if !failed => Some(Config {
            proxy,
            admin,
            store,
            policies,
            mode: model.mode,
            agents,
            anonymous: model.anonymous,
            reviewers,
            metrics_token_sha256,
            upstreams,
            routes,
            limits,
            drain_timeout: model.drain_timeout.0,
            log_format: model.log.format,
            log_level: model.log.level,
        }),
        _ => None,
    };
    Loaded { config, diagnostics, files_read: std::mem::take(&mut context.files) }
}

/// Parts of key names whose values are masked in excerpts, also where the key itself is a mistake.
const SECRET_NAMES: [&str; 6] = ["token", "secret", "password", "passwd", "authorization", "api_key"];

/// The bytes of every value that may be a secret, without the `${…}` references in them.
fn secret_spans(document: &Document) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    collect(document, document.value(), &mut Vec::new(), Visible::Shown, &mut spans);
    spans
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visible {
    Shown,
    Masked,
}

fn collect(
    document: &Document,
    value: &serde_yaml::Value,
    path: &mut Vec<PathSegment>,
    visible: Visible,
    spans: &mut Vec<Range<usize>>,
) {
    match value {
        serde_yaml::Value::Mapping(mapping) => {
            for (key, value) in mapping.iter().filter_map(|(key, value)| key.as_str().map(|key| (key, value))) {
                let folded = key.to_ascii_lowercase().replace('-', "_");
                let secret =
                    folded == "headers" || folded == "env" || SECRET_NAMES.iter().any(|name| folded.contains(name));
                path.push(PathSegment::Key(key.to_owned()));
                collect(document, value, path, if secret { Visible::Masked } else { visible }, spans);
                path.pop();
            }
        }
        serde_yaml::Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(PathSegment::Index(index));
                collect(document, item, path, visible, spans);
                path.pop();
            }
        }
        _ if visible == Visible::Masked || holds_password(value) => {
            let (_, span) = document.spans().value(path);
            let text = &document.source().text;
            let quotes = usize::from(text[span.clone()].starts_with(['"', '\'']));
            literal_parts(text, span.start + quotes..span.end - quotes.min(span.len() - quotes), spans);
        }
        _ => {}
    }
}

/// `scheme://user:password@host`, wherever it stands.
fn holds_password(value: &serde_yaml::Value) -> bool {
    let after_scheme = value.as_str().and_then(|text| text.split_once("://")).map(|(_, rest)| rest);
    after_scheme.is_some_and(|rest| rest.split('/').next().is_some_and(|authority| authority.contains('@')))
}

fn literal_parts(text: &str, span: Range<usize>, spans: &mut Vec<Range<usize>>) {
    let mut start = span.start;
    while let Some(at) = text.get(start..span.end).and_then(|rest| rest.find("${")) {
        let reference = start + at;
        let Some(length) = text[reference..span.end].find('}') else { break };
        spans.push(start..reference);
        start = reference + length + 1;
    }
    spans.push(start..span.end);
}
