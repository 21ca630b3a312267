//! AMD GPUs through the files of the amdgpu driver (`Documentation/gpu/amdgpu/thermal.rst` of the kernel).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{GpuInfo, GpuPort, GpuReading};

/// AMD's number among PCI vendors.
const VENDOR: &str = "0x1002";

/// Folders of the GPUs.
#[derive(Debug)]
pub(crate) struct Amd {
    cards: Vec<Card>,
}

#[derive(Debug)]
struct Card {
    info: GpuInfo,
    device: PathBuf,
    hwmon: PathBuf,
}

impl Amd {
    /// The GPUs under `root` that show power or energy; `None` when there is none.
    pub fn open(root: &Path) -> Option<Self> {
        let entries = fs::read_dir(root.join("sys/class/drm")).ok()?;
        let mut numbered: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                // Outputs (`card0-DP-1`) lie beside their card.
                Some((path.file_name()?.to_str()?.strip_prefix("card")?.parse().ok()?, path.join("device")))
            })
            .collect();
        numbered.sort();
        let cards: Vec<Card> =
            numbered.into_iter().filter_map(|(number, device)| card(number, device)).collect();
        (!cards.is_empty()).then_some(Self { cards })
    }
}

impl GpuPort for Amd {
    fn list(&self) -> Vec<GpuInfo> {
        self.cards.iter().map(|card| card.info.clone()).collect()
    }

    fn read(&mut self, index: usize, _with_processes: bool) -> GpuReading {
        let Card { device, hwmon, .. } = &self.cards[index];
        let microwatts =
            number(&hwmon.join("power1_average")).or_else(|| number(&hwmon.join("power1_input")));
        GpuReading {
            energy_uj: number(&hwmon.join("energy1_input")),
            power_w: microwatts.map(|microwatts| microwatts as f64 / 1e6),
            load: number(&device.join("gpu_busy_percent")).map(|percent| percent as f64 / 100.0),
            processes: None,
        }
    }
}

fn card(number_of_card: u32, device: PathBuf) -> Option<Card> {
    let text = |file: &str| fs::read_to_string(device.join(file)).ok().map(|text| text.trim().to_owned());
    if text("vendor")? != VENDOR {
        return None;
    }
    let shows = |folder: &PathBuf| {
        ["power1_average", "power1_input", "energy1_input"]
            .iter()
            .any(|file| number(&folder.join(file)).is_some())
    };
    let hwmon = fs::read_dir(device.join("hwmon")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let hwmon = hwmon.into_iter().find(shows)?;
    let name = text("product_name").filter(|name| !name.is_empty());
    let info = GpuInfo {
        name: name.unwrap_or_else(|| format!("AMD GPU {number_of_card}")),
        uuid: text("unique_id").unwrap_or_default(),
        is_split: false,
    };
    Some(Card { info, device, hwmon })
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_and_load_are_read_of_amd_cards_alone() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join("sys/class/drm").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(Amd::open(root.path()).is_none());
        write("card0/device/vendor", "0x8086\n");
        write("card0/device/hwmon/hwmon1/power1_average", "1\n");
        assert!(Amd::open(root.path()).is_none());
        write("card1/device/vendor", "0x1002\n");
        write("card1/device/product_name", "Instinct MI210\n");
        write("card1/device/gpu_busy_percent", "40\n");
        write("card1/device/hwmon/hwmon7/power1_average", "90500000\n");
        write("card1-DP-1/status", "connected\n");
        let mut amd = Amd::open(root.path()).unwrap();
        assert_eq!(amd.list()[0].name, "Instinct MI210");
        let reading = amd.read(0, true);
        assert_eq!((reading.power_w, reading.load, reading.energy_uj), (Some(90.5), Some(0.4), None));
        write("card1/device/hwmon/hwmon7/energy1_input", "123456\n");
        assert_eq!(amd.read(0, false).energy_uj, Some(123_456));
    }
}
