"""The changes of the schema, oldest first by number. One that was released is never edited."""
