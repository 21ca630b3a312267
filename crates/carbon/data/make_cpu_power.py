"""Writes cpu_power.csv from the data files of an unpacked codecarbon wheel.

python make_cpu_power.py FOLDER/codecarbon/data > cpu_power.csv
"""

import csv
import sys
from pathlib import Path

TABLE = Path(sys.argv[1]) / "hardware" / "cpu_power.csv"


def main():
    rows = {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, power = " ".join(row["Name"].split()), row["TDP"]
            # Four old Celerons have two figures run together, such as 27.29.5.
            if name and power.count(".") < 2 and float(power) > 0:
                rows.setdefault(name, float(power))
    print("# Rated power (TDP) of one socket in W, by name. Origin: cpu_power.csv of codecarbon 3.3.2,")
    print("# MIT License, (c) 2019 Mila, BCG Gamma, CometML, Haverford College, (c) 2023 Code Carbon NGO. See README.md.")
    print("name,tdp_w")
    for name, watts in sorted(rows.items()):
        print(f"{name},{watts:g}")


if __name__ == "__main__":
    main()
