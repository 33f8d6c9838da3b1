"""The line metrobus: a bank's notices get the address of their customer, pass an allow list, and are logged."""
