"""What a rules table says: read, checked, decided and explained."""
