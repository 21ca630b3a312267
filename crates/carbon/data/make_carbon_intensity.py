"""Writes carbon_intensity.csv from the data files of an unpacked codecarbon wheel.

python make_carbon_intensity.py FOLDER/codecarbon/data > carbon_intensity.csv
"""

import csv
import json
import re
import sys
from pathlib import Path

INFRA = Path(sys.argv[1]) / "private_infra"
OWID = "Our World in Data / Ember, production mix (CC-BY-4.0), by way of codecarbon 3.3.2 (MIT)"
EGRID = "US EPA eGRID2023 STC2ERTA (public domain), by way of codecarbon 3.3.2 (MIT)"
CANADA = "codecarbon 3.3.2 (MIT): 2023 mix by province x combustion factors of coal, petroleum and gas"
NORDIC = "ENTSO-E 2025 production by zone x factors per source, by way of codecarbon 3.3.2 (MIT)"
NORDIC_PRIOR = "codecarbon 3.3.2 (MIT), origin not stated there"
CHINA = "MEE/NBS of China, announcement 2025 No. 47 (CO2 only), by way of codecarbon 3.3.2 (MIT)"
WORLD = "IEA 2019 world average, by way of codecarbon 3.3.2 (MIT)"
POUND_PER_MWH_IN_G_PER_KWH = 0.45359237
# codecarbon/core/emissions.py, _region_energy_mix_to_emissions_rate; g/kWh
CANADIAN_FACTORS = {"coal": 995.725971, "petroleum": 816.6885263, "naturalGas": 743.8415916}
NORDIC_COUNTRY = {"SE": "SWE", "NO": "NOR", "FI": "FIN"}


def load(name):
    return json.loads((INFRA / name).read_text(encoding="utf-8"))


def us_states(states):
    for name, state in states.items():
        if not name.startswith("_") and name != "usa":
            yield "USA", name, state["regionCode"], state["emissions"] * POUND_PER_MWH_IN_G_PER_KWH, 2023, EGRID


def canadian_provinces(provinces):
    for name, mix in provinces.items():
        grams = sum(mix[fuel] / mix["total"] * factor for fuel, factor in CANADIAN_FACTORS.items())
        yield "CAN", name, "", grams, 2023, CANADA


def chinese_provinces(provinces):
    for code, province in provinces["data"].items():
        name = province["description"].lower()
        yield "CHN", name, code.removeprefix("CN-"), province["emission_factor"], province["year"], CHINA


def nordic_zones(zones):
    for code, zone in zones["data"].items():
        country = NORDIC_COUNTRY[re.match("[A-Z]+", code).group()]
        source = NORDIC_PRIOR if code == "FI" else NORDIC
        yield country, code.lower(), code, zone["emission_factor"], zone["year"], source


def main():
    countries = load("global_energy_mix.json")
    names = {code: country["country_name"] for code, country in countries.items()}
    rows = [("", "World", "", "", load("carbon_intensity_per_source.json")["world_average"], 2019, WORLD)]
    rows += [(code, c["country_name"], "", "", c["carbon_intensity"], c["year"], OWID) for code, c in countries.items()]
    regions = [
        *canadian_provinces(load("2023/canada_energy_mix.json")),
        *chinese_provinces(load("2023/china_provincial_emissions.json")),
        *us_states(load("2023/usa_emissions.json")),
        *nordic_zones(load("nordic_emissions.json")),
    ]
    rows += [(iso, names[iso], *rest) for iso, *rest in regions]
    print("# Carbon intensity of electricity, g CO2-equivalent per kWh, by country and region; yearly means.")
    print("# Origin: data files of codecarbon 3.3.2, MIT License, (c) 2019 Mila, BCG Gamma, CometML, Haverford")
    print("# College, (c) 2023 Code Carbon NGO; the primary source and its licence stand in each row. See README.md.")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["iso3", "country_name", "region", "region_code", "g_per_kwh", "year", "source"])
    for *place, grams, year, source in sorted(rows, key=lambda row: (row[0], row[2])):
        writer.writerow([*place, f"{grams:.3f}", year, source])


if __name__ == "__main__":
    main()
