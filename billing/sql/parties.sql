-- name: parties
SELECT party_id, legal_name FROM billing.party WHERE tenant = %(tenant)s ORDER BY party_id
