"""The line metrobus: notices of a bank find their customer's address, pass an allow list and are logged."""
