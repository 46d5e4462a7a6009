"""One trace that has a rule's precondition and one that has not, for each rule of the findings."""
