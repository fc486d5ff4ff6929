//! Settings that change while the process runs.
//!
//! The settings file is read every second and compared by its content: that finds what an editor, a
//! deployment or Kubernetes did to it, whichever way each writes files. A file is taken when two looks in
//! a row found the same, so that one that is half written is not; and nothing is taken from a file that
//! the start would have refused.

use std::path::Path;
use std::sync::Arc;

use toml::Table;

use super::Platform;
use super::platform::Kernel;
use crate::kernel::changes::{Changes, INTERVAL};
use crate::kernel::settings::{Difference, Origin, ServiceSettings, Settings, reload};

impl<T: ServiceSettings> Platform<T> {
    /// Hands the service's own settings to `apply` whenever the settings file has changed. `reloadable`
    /// names those that `apply` puts into effect, such as `gateway.rates`; of the others the log says
    /// that they need a restart. What `apply` refuses is reported and leaves everything as it was, so
    /// it changes nothing before it refuses.
    ///
    /// # Errors
    /// When the settings cannot be written out to be compared.
    pub fn on_settings(
        &self,
        reloadable: &'static [&'static str],
        apply: impl Fn(T) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let origin = self.kernel.origin.clone();
        let Some(file) = origin.file().map(Path::to_path_buf) else { return Ok(()) };
        let running = reload::table(self.kernel_settings(), self.settings())?;
        let kernel = Arc::clone(&self.kernel);
        let file_changes = Changes::of_unknown();
        let mut watch = Watch { origin, reloadable, running, kernel, file_changes, apply };
        let shutdown = self.shutdown();
        tokio::spawn(async move {
            while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
                watch.look::<T>(tokio::fs::read(&file).await.unwrap_or_default());
            }
        });
        Ok(())
    }
}

struct Watch<F> {
    origin: Origin,
    reloadable: &'static [&'static str],
    /// What holds, with those settings that wait for a restart.
    running: Table,
    kernel: Arc<Kernel>,
    file_changes: Changes<Vec<u8>>,
    apply: F,
}

impl<F> Watch<F> {
    fn look<T: ServiceSettings>(&mut self, content: Vec<u8>)
    where
        F: Fn(T) -> anyhow::Result<()>,
    {
        if self.file_changes.look(content).is_none() {
            return;
        }
        let taken = self.origin.load::<T>().and_then(|settings| self.take(settings));
        self.kernel.metrics.settings_refused(taken.is_err());
        match taken {
            Ok(difference) => report(&difference),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the settings file is refused: the last good one holds");
            }
        }
    }

    fn take<T: ServiceSettings>(&mut self, settings: Settings<T>) -> anyhow::Result<Difference>
    where
        F: Fn(T) -> anyhow::Result<()>,
    {
        let table = reload::table(&settings.kernel, &settings.own)?;
        let difference = Difference::between(&self.running, &table, self.reloadable);
        (self.apply)(settings.own)?;
        let mut shown = Table::clone(&self.kernel.shown_settings.load());
        for name in self.reloadable {
            reload::take_over(&mut shown, &table, name);
        }
        self.kernel.shown_settings.store(Arc::new(shown));
        self.running = table;
        Ok(difference)
    }
}

fn report(difference: &Difference) {
    if !difference.effective.is_empty() {
        let settings = difference.effective.join(", ");
        tracing::info!(settings, "settings changed and hold from now on");
    }
    if !difference.pending.is_empty() {
        let settings = difference.pending.join(", ");
        tracing::warn!(settings, "settings changed that need a restart");
    }
}
