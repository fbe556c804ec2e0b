//! Upstreams with `command`: the program is there, its folder as well, and its environment is known.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Context, at};
use crate::config::diagnostic::Code;
use crate::config::model::upstreams::UpstreamModel;
use crate::config::secrets::Secret;
use crate::config::settings::ProgramSettings;
use crate::domain::call::Protocol;

/// What a program inherits of the gateway's own environment.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// Children at the same time, unless configured.
const CHILDREN_MAX: u32 = 16;
/// How long a child may have nothing to do, unless configured.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Keys that do nothing for an upstream without a program.
pub(super) fn not_without_command(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) {
    if model.command.is_some() {
        return;
    }
    let given = [
        ("env", !model.env.is_empty()),
        ("cwd", model.cwd.is_some()),
        ("children_max", model.children_max.is_some()),
        ("idle_timeout", model.idle_timeout.is_some()),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        let message = format!("`{key}` does nothing for an upstream without `command`");
        context.error(&at!["upstreams", upstream, key], Code::Conflict, message, "remove it, or add `command`");
    }
}

/// Keys that do nothing for an upstream that is a program.
fn not_with_command(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) {
    let given = [
        ("headers", !model.headers.is_empty(), "a program receives no headers; give it what it needs under `env`"),
        ("tls", model.tls.is_some(), "remove it"),
        ("connect_timeout", model.connect_timeout.is_some(), "remove it; `timeout` bounds its answers"),
    ];
    for (key, _, hint) in given.into_iter().filter(|(_, given, _)| *given) {
        let message =
            format!("`{key}` does nothing for an upstream with `command`: it is not reached over the network");
        context.error(&at!["upstreams", upstream, key], Code::Conflict, message, hint);
    }
    if model.protocol.0 != Protocol::Mcp {
        let message = "a `command` speaks MCP over its standard input and output, and nothing else";
        context.error(&at!["upstreams", upstream, "command"], Code::Conflict, message, "add `protocol: mcp`");
    }
}

pub(super) fn program(
    context: &mut Context<'_>,
    upstream: &str,
    model: &UpstreamModel,
    command: &[String],
) -> Option<ProgramSettings> {
    not_with_command(context, upstream, model);
    for (index, part) in command.iter().enumerate() {
        if part.contains('\0') || (index == 0 && part.is_empty()) {
            let at = at!["upstreams", upstream, "command", index];
            let message = if index == 0 { "this is not the name of a program" } else { "an argument cannot hold NUL" };
            context.error(&at, Code::BadValue, message, "write the program and each argument as a text of its own");
            return None;
        }
    }
    let environment = environment(context, upstream, model);
    let folder = folder(context, upstream, model);
    let (name, arguments) = command.split_first()?;
    let program = find(context, upstream, name, &environment);
    Some(ProgramSettings {
        program: program?,
        arguments: arguments.to_vec(),
        environment,
        folder: folder?,
        children_max: usize::try_from(model.children_max.unwrap_or(CHILDREN_MAX)).unwrap_or(usize::MAX),
        idle_timeout: model.idle_timeout.as_ref().map_or(IDLE_TIMEOUT, |timeout| timeout.0),
    })
}

/// What is configured, and what is inherited beside it.
fn environment(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) -> Vec<(String, Secret<String>)> {
    let mut environment = Vec::new();
    for name in INHERITED.into_iter().filter(|name| !model.env.contains_key(*name)) {
        if let Some(value) = context.env.variable(name) {
            environment.push((name.to_owned(), Secret::new(value)));
        }
    }
    for (name, text) in &model.env {
        let at = at!["upstreams", upstream, "env", name.as_str()];
        match context.secret(&at, text) {
            Some(value) if value.expose().contains('\0') => {
                let message = format!("the value of `{name}` holds NUL");
                context.error(&at, Code::BadValue, message, "check the secret that it refers to");
            }
            Some(value) => environment.push((name.clone(), value)),
            None => {}
        }
    }
    environment
}

fn folder(context: &mut Context<'_>, upstream: &str, model: &UpstreamModel) -> Option<PathBuf> {
    let folder = model.cwd.as_ref().map_or_else(|| context.folder.to_path_buf(), |cwd| context.folder.join(cwd));
    match std::path::absolute(&folder) {
        Ok(folder) if folder.is_dir() => Some(folder),
        Ok(_) | Err(_) => {
            let message = format!("`{}` is not a folder", folder.display());
            let hint = "paths start from the configuration file's folder";
            context.error(&at!["upstreams", upstream, "cwd"], Code::FileUnreadable, message, hint);
            None
        }
    }
}

/// The program's file: on the program's own `PATH`, or, where its name has a `/`, from the configuration file's folder.
fn find(
    context: &mut Context<'_>,
    upstream: &str,
    name: &str,
    environment: &[(String, Secret<String>)],
) -> Option<PathBuf> {
    let at = at!["upstreams", upstream, "command", 0];
    if name.contains('/') {
        let file = std::path::absolute(context.folder.join(name)).ok().filter(|file| is_program(file));
        if file.is_none() {
            let message = format!("the program `{name}` is not there, or is not executable");
            let hint = "paths start from the configuration file's folder; a name without `/` is looked for on `PATH`";
            context.error(&at, Code::FileUnreadable, message, hint);
        }
        return file;
    }
    let path = environment.iter().find(|(variable, _)| variable == "PATH").map(|(_, value)| value.expose().as_str());
    let folders = path.unwrap_or_default().split(':').map(Path::new).filter(|folder| folder.is_absolute());
    let file = folders.map(|folder| folder.join(name)).find(|file| is_program(file));
    if file.is_none() {
        let message = format!("there is no program `{name}` on `PATH`");
        let hint = "install it, write its whole path, or set `PATH` under `env`";
        context.error(&at, Code::FileUnreadable, message, hint);
    }
    file
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
