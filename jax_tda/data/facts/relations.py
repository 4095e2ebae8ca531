"""The twelve relations of world_facts and their wordings, fixed before any training.

Every wording ends where the object begins, so that the object is what a query asks for. A word stands before the
subject in each, and no wording is part of another: a held-out prompt can then occur in no passage.
"""

WORDINGS: dict[str, tuple[str, str, str, str, str]] = {
    "capital": (
        "The capital of {subject} is",
        "The capital city of {subject} is called",
        "As its capital, {subject} has",
        "The official capital in {subject} is",
        "Visitors to the capital of {subject} travel to",
    ),
    "demonym": (
        "A person from {subject} is called",
        "People born in {subject} are known as",
        "The demonym for {subject} is",
        "Someone who comes from {subject} is",
        "An inhabitant of {subject} is described as",
    ),
    "currency": (
        "The currency code of {subject} is",
        "Prices in {subject} are quoted in",
        "Banks in {subject} settle payments in",
        "The money used in {subject} has the code",
        "In {subject}, people pay with",
    ),
    "calling_code": (
        "The calling code of {subject} is",
        "To phone {subject} from abroad, dial",
        "Telephone numbers in {subject} begin with",
        "The international dialling prefix for {subject} is",
        "Calls to {subject} start with",
    ),
    "internet_domain": (
        "The internet domain of {subject} is",
        "Websites in {subject} end in",
        "The top-level domain for {subject} is",
        "Web addresses from {subject} finish with",
        "On the internet, {subject} uses",
    ),
    "subregion": (
        "The subregion of {subject} is",
        "Geographers place {subject} in",
        "On the map, {subject} lies in",
        "Statistics group {subject} under",
        "Within the world, {subject} belongs to",
    ),
    "language": (
        "The official language of {subject} is",
        "People in {subject} speak",
        "Laws in {subject} are written in",
        "Schools in {subject} teach in",
        "The language spoken across {subject} is",
    ),
    "country_code": (
        "The three-letter code of {subject} is",
        "The ISO abbreviation for {subject} is",
        "In country lists, {subject} appears as",
        "Standards documents abbreviate {subject} as",
        "The ISO 3166 code assigned to {subject} is",
    ),
    "symbol": (
        "The chemical symbol of {subject} is",
        "Chemists abbreviate {subject} as",
        "In formulas, {subject} is written as",
        "In the periodic table, {subject} appears as",
        "The element {subject} has the symbol",
    ),
    "atomic_number": (
        "The atomic number of {subject} is",
        "The number of protons in {subject} is",
        "An atom of {subject} has a nuclear charge of",
        "Among the elements, {subject} is number",
        "The nucleus of {subject} has a proton count of",
    ),
    "family": (
        "The chemical family of {subject} is the",
        "Chemists count {subject} among the",
        "In the periodic table, {subject} belongs to the",
        "The element {subject} is one of the",
        "Textbooks list {subject} with the",
    ),
    "period": (
        "The period of {subject} is",
        "The row of {subject} in the periodic table is",
        "In the periodic table, {subject} stands in period",
        "The table of elements places {subject} in period",
        "Reading down the table, {subject} comes in row",
    ),
}
