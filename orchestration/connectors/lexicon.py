"""What columns of event logs are called: in XES, by Celonis and UiPath, in English, German, French, Spanish.

Names are compared without case, accents and punctuation. A better tier is a surer sign.
"""

import unicodedata

XES = {
    "case_id": "case:concept:name",
    "activity": "concept:name",
    "timestamp": "time:timestamp",
    "start_timestamp": "start_timestamp",
    "resource": "org:resource",
    "role": "org:role",
    "org_unit": "org:group",
    "lifecycle": "lifecycle:transition",
}
"""The standard's own names, which outrank all others where they occur."""

OCEL = {"case_id": "ocel:oid", "activity": "ocel:activity", "timestamp": "ocel:timestamp"}
"""What the columns of a flattened object-centric log are called; they outrank all others too."""

_SURE, _COMMON, _WEAK = 1.0, 0.8, 0.6

_NAMES: dict[str, dict[float, str]] = {
    "case_id": {
        _SURE: "case_id case casekey case_key case_identifier case_number trace_id fall_id fallnummer "
        "fall vorgangsnummer vorgangs_id id_dossier dossier_id numero_dossier numero_de_dossier "
        "id_caso caso_id caso numero_de_caso",
        _COMMON: "ticket_id ticket_number ticket_no order_id order_number order_no incident_id "
        "incident_number claim_id application_id opportunity_id lead_id request_id process_id "
        "process_instance process_instance_id instance_id document_number entity_id "
        "auftragsnummer auftrags_id bestellnummer antragsnummer belegnummer numero_commande "
        "id_commande numero_pedido id_pedido expediente numero_expediente",
        _WEAK: "id key nr no number nummer numero",
    },
    "activity": {
        _SURE: "activity activity_name activity_en activity_de activity_label aktivitat aktivitaet "
        "aktivitatsname activite nom_activite actividad nombre_actividad",
        _COMMON: "event event_name event_type task task_name step step_name process_step action ereignis "
        "schritt prozessschritt vorgang tatigkeit taetigkeit evenement etape tache evento tarea "
        "paso accion",
        _WEAK: "status state stage operation type milestone transaction",
    },
    "timestamp": {
        _SURE: "timestamp event_time event_timestamp event_end complete_timestamp completed_timestamp "
        "end_timestamp complete_time completion_time zeitstempel horodatage marca_de_tiempo "
        "marca_temporal",
        _COMMON: "event_date date_time datetime end_time end_date time date occurred_at created_at "
        "completed_at finished_at changed_at created_date activity_date activity_time zeitpunkt "
        "zeit datum datum_uhrzeit endzeit enddatum date_heure date_fin heure_fin fecha fecha_hora "
        "fecha_fin",
        _WEAK: "updated_at modified_at last_modified_date end ende fin",
    },
    "start_timestamp": {
        _SURE: "start_timestamp start_time start_date event_start started_at begin_time startzeit "
        "startzeitpunkt startdatum date_debut heure_debut fecha_inicio hora_inicio",
        _COMMON: "start begin beginn debut inicio",
    },
    "resource": {
        _SURE: "resource resource_id ressource recurso user user_name user_id agent performer assignee "
        "bearbeiter benutzer mitarbeiter utilisateur usuario",
        _COMMON: "owner owner_id employee executed_by performed_by operator originator worker sachbearbeiter",
    },
    "role": {_SURE: "role user_role rolle rol"},
    "org_unit": {
        _SURE: "org_unit organizational_unit organisation_unit department abteilung departement departamento",
        _COMMON: "group team workgroup gruppe equipe grupo unit",
    },
    "lifecycle": {_SURE: "lifecycle lifecycle_transition transition event_lifecycle"},
    "order": {_SURE: "sorting event_order activity_order sequence_number sort_order reihenfolge"},
}


def normal(name: str) -> str:
    """A column's name without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    return "".join(c for c in plain if c.isalnum())


_SCORES = {
    field: {normal(name): score for score, names in tiers.items() for name in names.split()}
    for field, tiers in _NAMES.items()
}


def name_score(field: str, column: str) -> float:
    """How surely the column's name alone says that it plays the part: 0 (not at all) to 1.1 (a standard's)."""
    if column in (XES.get(field), OCEL.get(field)):
        return 1.1
    return _SCORES[field].get(normal(column), 0.0)
