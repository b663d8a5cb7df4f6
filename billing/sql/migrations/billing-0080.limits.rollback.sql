DROP TABLE billing.run_decision, billing.limit_alert, billing.limit_change, billing.usage_day_head, billing.usage_day,
    billing.wallet_recognition, billing.wallet_value, billing.wallet_entry, billing.wallet_lot, billing.contract_prepaid;
DROP FUNCTION billing.move_balance, billing.only_by_entry, billing.begin_whole;
