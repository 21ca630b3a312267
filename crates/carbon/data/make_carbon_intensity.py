"""Writes carbon_intensity.csv from its upstream files (README.md says where each is had).

python make_carbon_intensity.py UPSTREAM > carbon_intensity.csv

UPSTREAM holds codecarbon/data (an unpacked wheel), average-intensities.json and gcp.csv. Needs pycountry.
"""

import csv
import json
import re
import sys
from pathlib import Path

import pycountry

UPSTREAM = Path(sys.argv[1])
INFRA = UPSTREAM / "codecarbon" / "data" / "private_infra"
EMBER = "Ember yearly electricity data (CC-BY-4.0), by way of co2.js"
OWID = "Our World in Data / Ember, production mix (CC-BY-4.0), by way of codecarbon 3.3.2 (MIT)"
EGRID = "US EPA eGRID2023 STC2ERTA (public domain), by way of codecarbon 3.3.2 (MIT)"
CANADA = "codecarbon 3.3.2 (MIT): 2023 mix by province x combustion factors of coal, petroleum and gas"
NORDIC = "ENTSO-E 2025 production by zone x factors per source, by way of codecarbon 3.3.2 (MIT)"
NORDIC_PRIOR = "codecarbon 3.3.2 (MIT), origin not stated there"
CHINA = "MEE/NBS of China, announcement 2025 No. 47 (CO2 only), by way of codecarbon 3.3.2 (MIT)"
GOOGLE = "Google Cloud region carbon info, grid carbon intensity (Apache-2.0)"
GOOGLE_YEAR = 2025
POUND_PER_MWH_IN_G_PER_KWH = 0.45359237
# codecarbon/core/emissions.py, _region_energy_mix_to_emissions_rate; g/kWh
CANADIAN_FACTORS = {"coal": 995.725971, "petroleum": 816.6885263, "naturalGas": 743.8415916}
NORDIC_COUNTRY = {"SE": "SWE", "NO": "NOR", "FI": "FIN"}
# Not in ISO 3166; the code that the European Commission uses.
KOSOVO = {"XKX": "XK"}
# What these count is emitted where electricity is made; the others count the life cycle of plants and fuels.
COMBUSTION_ONLY = {EGRID, CANADA, CHINA, GOOGLE}
COLUMNS = ["provider", "iso3", "iso2", "country_name", "region", "region_code", "g_per_kwh", "year", "scope", "source"]


def load(name):
    return json.loads((INFRA / name).read_text(encoding="utf-8"))


def iso2(iso3):
    country = pycountry.countries.get(alpha_3=iso3)
    return country.alpha_2 if country else KOSOVO[iso3]


def countries():
    """The newer figure of each country; Ember's own where both are of the same year."""
    rows = {code: (c["country_name"], c["carbon_intensity"], c["year"], OWID) for code, c in load("global_energy_mix.json").items()}
    for ember in json.loads((UPSTREAM / "average-intensities.json").read_text(encoding="utf-8")).values():
        name, code, year = ember["country_or_region"], ember["country_code"], ember["year"]
        if name != "World" and not code:
            continue
        known = rows.get(code)
        if known is None or year >= known[2]:
            rows[code] = (known[0] if known else name, ember["emissions_intensity_gco2_per_kwh"], year, EMBER)
    return rows


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


def cloud_regions(places):
    """Google's own figures; elsewhere the figure of the country, state or province where the region is."""
    with (UPSTREAM / "gcp.csv").open(encoding="utf-8") as file:
        google = {row[0]: float(row[3]) for row in list(csv.reader(file))[1:]}
    with (Path(__file__).parent / "cloud_regions.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            grams, year, source = places[row["iso3"], row["place"]]
            if row["provider"] == "gcp":
                grams, year, source = google[row["region"]], GOOGLE_YEAR, GOOGLE
            yield row["provider"], row["iso3"], row["place"], row["region"], grams, year, source


def main():
    whole = countries()
    regions = [
        *canadian_provinces(load("2023/canada_energy_mix.json")),
        *chinese_provinces(load("2023/china_provincial_emissions.json")),
        *us_states(load("2023/usa_emissions.json")),
        *nordic_zones(load("nordic_emissions.json")),
    ]
    places = {(code, ""): row[1:] for code, row in whole.items()}
    places |= {(code, region): figure for code, region, _, *figure in regions}
    rows = [("", code, iso2(code) if code else "", row[0], "", "", *row[1:]) for code, row in whole.items()]
    rows += [("", code, "", whole[code][0], *rest) for code, *rest in regions]
    rows += [(provider, code, "", whole[code][0], *rest) for provider, code, *rest in cloud_regions(places)]
    print("# Carbon intensity of electricity, g CO2-equivalent per kWh, by country, region and cloud region; yearly means.")
    print("# The primary source and its licence stand in each row. Carried over by way of codecarbon 3.3.2, MIT License,")
    print("# (c) 2019 Mila, BCG Gamma, CometML, Haverford College, (c) 2023 Code Carbon NGO. See README.md.")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for *place, grams, year, source in sorted(rows, key=lambda row: (row[0], row[1], row[4], row[5])):
        scope = "combustion" if source in COMBUSTION_ONLY else "life_cycle"
        writer.writerow([*place, f"{grams:.3f}".rstrip("0").rstrip("."), year, scope, source])


if __name__ == "__main__":
    main()
