package demo

// paper is a document of the sample application.
type paper struct {
	Slug, Title, Kind, Size, Date string
	Text                          []string
}

// documents are what the sample application guards. The harbour is made up.
var documents = []paper{
	{"tide-tables", "Tide tables, north basin", "Table", "14 pages", "2 March", []string{
		"High water at the north basin is at 04:12 and 16:38 on the first of the month, and about fifty minutes later each day.",
		"Vessels drawing more than four metres wait for two hours after low water. The lock keeper decides in fog.",
	}},
	{"berths", "Berth plan, spring season", "Plan", "1 sheet", "27 February", []string{
		"Berths 1 to 8 are for the ferries, 9 to 14 for the fishing fleet, and 15 to 22 for visitors.",
		"Visitors stay for three nights. The crane stands at berth 11, which is kept free on Thursdays.",
	}},
	{"pilots", "Pilots on call", "Roster", "2 pages", "24 February", []string{
		"One pilot is on call at any hour; a second one from dusk to dawn.",
		"The roster changes on Monday at noon. Whoever swaps a watch tells the harbour office first.",
	}},
	{"dredging", "Dredging of the south channel", "Contract", "38 pages", "11 February", []string{
		"The south channel is dredged to six metres between the two beacons, in the weeks without spring tides.",
		"Sand goes to the eastern beach. The work stops while seals are on it.",
	}},
	{"lighthouse", "Lighthouse, yearly inspection", "Report", "6 pages", "30 January", []string{
		"The lamp, the lens and the clockwork are in order. The gallery’s railing was repainted.",
		"The fog horn is half a tone lower than last year, which no ship has remarked on.",
	}},
	{"lost", "Lost and found", "List", "3 pages", "8 January", []string{
		"Eleven umbrellas, one oar, a trombone in its case, and a letter addressed to the previous lighthouse keeper.",
		"What nobody asks for within a year goes to the seamen’s mission.",
	}},
}

func paperBySlug(slug string) (paper, bool) {
	for _, p := range documents {
		if p.Slug == slug {
			return p, true
		}
	}
	return paper{}, false
}
