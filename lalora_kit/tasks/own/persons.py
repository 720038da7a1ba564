"""Names of columns, files and folders that speak of a person, as hospitals, cohorts, schools and shops spell them.

The lists are data, with their sources; one rule reads them. It prefers a false alarm, which `--unit row` answers, to
an ε that silently holds for a row where it was meant for a person.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

PERSON, ID = "person", "id"


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as a text."""
    return tuple(text.split())


#: What a person is called, by language; endings of number and gender are understood.
NOUNS = {
    "English": """patient subject subj person people individual participant respondent interviewee proband volunteer
        donor author writer user usr username speaker talker customer cust consumer buyer purchaser shopper guest
        passenger member subscriber student pupil learner teacher instructor employee staff worker annotator rater
        reviewer player driver rider tenant resident citizen voter applicant candidate victim suspect offender
        defendant inmate prisoner child children infant baby newborn mother father parent sibling twin beneficiary
        claimant policyholder insured enrollee submitter commenter sender blogger tweeter visitor doctor physician
        clinician nurse surgeon radiologist therapist surname lastname firstname fullname givenname familyname
        forename nickname screenname realname email emailaddress mailaddress""",
    "German": """patienten patientin probanden probandin teilnehmer teilnehmerin personen kunde kunden kundin mitglied
        mitglieds mitglieder schuler schueler studierende versicherte versicherten versicherter nutzer benutzer autor
        autorin verfasser sprecher mitarbeiter vorname nachname familienname benutzername""",
    "French": """patiente sujet personne individu assure adherent eleve etudiant utilisateur auteur locuteur employe
        salarie usager prenom""",
    "Spanish, Portuguese": """paciente sujeto sujeito participante persona pessoa individuo alumno alumna aluno aluna
        estudiante estudante usuario usuaria autora hablante empleado trabajador trabajadora socio afiliado miembro
        apellido apellidos sobrenome cliente utente""",
    "Italian": "paziente soggetto partecipante studente alunno utente autore dipendente assistito cognome",
    "Dutch, Danish, Norwegian, Swedish": """proefpersoon deelnemer persoon klant leerling gebruiker voornaam
        achternaam deltagare deltager kund bruger anvandare elev""",
    "Polish": "pacjent uczestnik osoba klient uczen uzytkownik nazwisko",
}

#: Written without spaces around them, so looked for anywhere in a name.
ANYWHERE = words("""пациент участник студент клиент пользователь фамилия 患者 病人 受试者 被试 用户 学生 学号 客户
    会员 姓名 病历号 被験者 学籍番号 氏名 顧客 환자 학번 참가자 회원""")

#: Whole names, by who spells them so; they are looked for as one word too (`hospital_mrn`).
CODES = {
    "CDISC SDTM (demographics)": "usubjid subjid",
    "UK Biobank; FinnGen; ADNI; PLINK's sample files": "eid finngenid ptid iid",
    "NHANES; HRS, ELSA and SHARE; NLSY; Understanding Society; LISS; SOEP": """seqn hhid hhidpn idauniq mergeid caseid
        pidp pernum pnum nomemencr persnr respid""",
    "eICU; MIMIC; OMOP": "uniquepid patientunitstayid patienthealthsystemstayid hadmid stayid icustayid personid",
    "hospitals (HL7 v2 PID, DICOM patient module)": """mrn mrno empi mpi uhid pid pids patid patno patnr medrec
        medicalrecordnumber medicalrecordno medicalrecord hospitalnumber hospitalno hospno urnumber urno phn""",
    "public registers": """ssn nhsno nhsnumber nhsid chinumber nino socialsecuritynumber socialsecurityno nationalid
        nationalidentifier passport passportno passportnumber personnummer personnr pnr cpr cprnr bsn cpf curp dni nif
        pesel aadhaar codicefiscale codfiscale nss ahv ahvnr versichertennummer versicherungsnummer versicherungsnr
        sozialversicherungsnummer svnr medicareno medicarenumber healthcardnumber licenseplate""",
    "schools and universities": """matrikelnummer matrikelnr matrikel matnr matricno matricnumber matricula matricule
        rollno rollnumber enrolmentno enrollmentno registrationno registrationnumber regno upn uln netid sisid""",
    "shops, services and devices": """memberno membershipno membershipnumber loyaltycard loyaltyno custno custid uid
        userid login loginname handle phonenumber telephone telephonenumber mobileno mobilenumber msisdn ip ipaddress
        ipaddr imei advertisingid idfa gaid cookie cookieid iban cardnumber accountname personalnummer personalnr
        lidnummer""",
    "records under another name": "pseudoid pseudonym pseudonyme pseudonymid anonid anonymid",
}

#: May be a person, a place or a thing: refused like an id, but taken as what owners are called where `--owner` says so.
MAYBE = words("""id ids uid guid uuid identifier identifiant identificador kennung studyid recordid trialid sessionid
    deviceid client account acct family household contact phone mobile mail encounter admission case caso unnamed""")
ALONE = words("name names nom nome nombre naam imie")  # of a person, unless it says of what: `product_name`

#: Speak of a person with a number only: `case_no`, `ptid`, `fallnummer`, `sub-01`.
NUMBERED = words("""case pt sub pat stud emp resp encounter enc visit admission episode stay record chart file dossier
    fall akten account acct konto card badge licence license policy household family""")
NUMBERS = words("""id ids no nr nos num nums number numbers nummer numero numer code codigo cod ref reference key
    kennung kennzeichen identifier identifiers ident identifiant identificador pseudonym pseudo hash guid uuid uid""")
AFFIXES = words("""unique study anon anonymous anonymized anonymised deid deidentified hashed masked encrypted
    research trial new old orig original internal external src the de du del da do la le el di van source value index
    idx label name names text str string""")

#: With one of these, and no number, a name speaks of what a person is like: `patient_age`.
ATTRIBUTES = frozenset(
    words("""age ages alter sex gender geschlecht sexe sexo race ethnicity group groups type types class status state
        city country region location position height weight bmi count counts side role level score rating education
        language nationality occupation job date day month year time birth dob birthdate zip postcode""")
)


def folded(name: str) -> str:
    """Small letters without accents: `Schüler` as `schuler`."""
    apart = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in apart if unicodedata.category(letter) != "Mn").casefold()


def words_of(name: str) -> list[str]:
    """The words of a name: `PatientID`, `patient-id` and `PATIENT ID 2` are `patient`, `id`."""
    apart = re.sub(r"(?<=[^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name)
    return [word for word in (part.strip("0123456789") for part in re.split(r"[\W_]+", folded(apart))) if word]


@cache
def patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], frozenset[str]]:
    """A person's word; names run together of a person and numbers, or of a thing and its number; codes."""

    def any_of(words: tuple[str, ...]) -> str:
        return "|".join(sorted(set(words), key=lambda word: (-len(word), word)))

    noun = f"(?:{any_of(words(' '.join(NOUNS.values())))})(?:s|es|n|en|in|innen)?"
    near, number = any_of(AFFIXES + NUMBERS), any_of(NUMBERS)
    person = re.compile(f"(?:{near})*{noun}(?:{near})*")
    numbered = re.compile(f"(?:{any_of(NUMBERED)})s?(?:{number})+|(?:{number})+(?:de)?(?:{any_of(NUMBERED)})")
    return re.compile(noun), person, numbered, frozenset(words(" ".join(CODES.values())))


def speaks_of(name: str) -> str:
    """`PERSON` where `name` is a person's, `ID` where it may be one's or another thing's, else nothing.

    >>> [speaks_of(name) for name in ("PATIENTID", "member_no", "Numéro patient", "hospital_id", "patient_age")]
    ['person', 'person', 'person', 'id', '']
    """
    words = words_of(name)
    joined, pairs = "".join(words), ["".join(words[at : at + 2]) for at in range(len(words))]
    parts = {joined, *pairs, *words}
    noun, person, numbered, codes = patterns()
    if parts & codes or any(folded(word) in folded(name) for word in ANYWHERE):
        return PERSON
    if ATTRIBUTES.intersection(words) and not parts.intersection(NUMBERS):
        return ""
    if any(noun.fullmatch(word) or person.fullmatch(word) or numbered.fullmatch(word) for word in parts):
        return PERSON
    return ID if not joined or joined in ALONE or parts.intersection(MAYBE) else ""


#: A person by number inside the name of a file: `person12_virus_45`, `sub-01_scan`, `Patient 003`.
NAMED = re.compile(
    r"(?<![a-z])(patient|person|subject|subj|sub|participant|proband|volunteer|donor|speaker|user|author|student|case|"
    r"pat|pt|pid|mrn|id)s?[\s_.-]*(?:id|no|nr)?[\s_.-]*(\d+)(?!\d)",
    re.IGNORECASE,
)


def person_in(name: str) -> str:
    """The person whom the name of a file counts, or nothing.

    >>> person_in("person012_virus_4.jpeg"), person_in("IMG_2041.jpg")
    ('person 12', '')
    """
    found = NAMED.search(name)
    return f"{found[1].lower()} {int(found[2])}" if found else ""
