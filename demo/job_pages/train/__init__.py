"""The Train page: data that is checked at once, a form, the request it makes."""
