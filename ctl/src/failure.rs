//! One line and an exit code for each error.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use mainstay::kernel::error::{
    Error, NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED, UNAVAILABLE, UNIMPLEMENTED,
};

/// The command was used wrongly: exit code 2, as for what the command line itself refuses.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Says what is wrong on one line of standard error.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // Whoever reads has read enough, as `head` does.
        return ExitCode::SUCCESS;
    }
    let text = format!("{error:#}").replace('\n', "; ");
    let mend = mend(error).map(|mend| format!("; {mend}")).unwrap_or_default();
    // Nothing is left to be done about a standard error that is closed.
    let _ = writeln!(std::io::stderr(), "mainstayctl: {text}{mend}");
    match error.is::<Usage>() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// What to do about an answer of the platform.
fn mend(error: &anyhow::Error) -> Option<&'static str> {
    let error = error.chain().find_map(|cause| cause.downcast_ref::<Error>())?;
    [
        (UNAVAILABLE, "see which services run: mainstayctl services"),
        (UNAUTHENTICATED, "log in: mainstayctl login --email …"),
        (PERMISSION_DENIED, "use a certificate for `operator`, and log in as somebody who may"),
        (UNIMPLEMENTED, "the service is of an older version: update it"),
        (NOT_FOUND, "list what there is"),
    ]
    .into_iter()
    .find_map(|(code, mend)| error.is(&code).then_some(mend))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_platform_names_a_mend() {
        let error = anyhow::Error::from(Error::unavailable("audit-svc is away")).context("asked");
        assert!(mend(&error).is_some_and(|mend| mend.contains("mainstayctl services")));
        assert!(mend(&anyhow::anyhow!("other")).is_none());
    }

    #[test]
    fn a_reader_that_has_read_enough_is_no_failure() {
        let closed = std::io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::from(closed).context("written")));
    }
}
