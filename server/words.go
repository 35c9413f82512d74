package server

import "strings"

// The words of temporary sites' names: adverb, adjective, noun. They are short, friendly and plain ASCII, and stay so:
// whoever adds one reads it beside every other first.
var (
	adverbs = strings.Fields(`
		ably airily amply aptly ardently avidly blithely boldly bravely breezily brightly brilliantly briskly broadly
		busily calmly candidly carefully casually cheerily clearly cleverly closely comfily coolly coyly cozily
		crisply curiously daily daintily daringly dearly deeply deftly directly doubly dreamily duly eagerly early
		earnestly easily elegantly equally evenly exactly expertly fairly faithfully famously fancily festively firmly
		fluently fondly formally frankly freely freshly friendly fully gaily gallantly generously gently gladly
		gleefully globally gracefully gradually grandly gratefully greatly handily happily hardily harmoniously
		heartily helpfully honestly hopefully hugely humbly ideally instantly intently jauntily jointly jollily
		joyfully joyously justly keenly kindly largely lately lazily lightly literally lively locally loudly lovingly
		loyally lucidly luckily madly mainly majestically merrily mightily mildly mindfully modestly mostly musically
		mutually nattily naturally neatly newly nicely nimbly nobly normally notably openly opulently orderly overly
		partly patiently peacefully perfectly perkily plainly playfully politely promptly properly proudly purely
		quaintly quickly quietly quirkily radiantly rapidly rarely readily really regally regularly richly rightly
		robustly rosily roundly royally safely sagely sanely secretly securely serenely sharply shyly silently simply
		sincerely skillfully sleekly slowly smartly smoothly snappily snugly softly solidly soundly specially
		splendidly steadily stoutly strongly sturdily suddenly sunnily superbly surely sweetly swiftly tactfully
		tastefully tenderly thankfully thoroughly tidily tightly timely totally truly trustily truthfully uniquely
		usefully valiantly vastly vibrantly vividly warmly weekly wholly widely wildly willingly wisely wittily
		wonderfully yearly youthfully zanily zealously zestfully`)

	adjectives = strings.Fields(`
		able agile airy alert alpine amber ample amused ancient apt aqua arctic artful autumn avid azure balmy bold
		brave breezy bright brisk bronze bubbly busy calm candid caring carmine casual cheery chief choice civil
		classic clean clear clever cloudy coastal cobalt comfy cool copper coral cosmic cosy cozy crafty cream crimson
		crisp cuddly curious curly dainty dapper daring dashing dazzling deft devoted dewy dreamy dynamic eager early
		earnest easy elated elegant emerald epic fabled fair faithful famous fancy fearless festive fine fluffy fond
		frank free fresh friendly frosty gallant generous gentle giant gifted giving glad gleaming glossy golden grand
		grateful great green handy happy hardy hazel hearty helpful honest hopeful humble icy ideal indigo ivory jade
		jaunty jazzy jolly joyful keen kind lavish leafy light lilac lively lofty loyal lucid lucky lunar magic majestic
		maple marble mellow merry mighty mild mint misty modern modest mossy musical natural neat nimble noble northern
		novel olive open orange orderly patient peaceful peachy pearly perky placid playful pleasant plucky plush
		polished polite prime proud purple quaint quick quiet quirky radiant rapid ready regal robust rosy round royal
		ruby rustic sandy scarlet serene sharp shiny silent silken silver simple sincere sleek smart smiling smooth
		snappy snowy snug social soft solar solid spirited splendid spry stable stately steady stellar sterling stout
		sturdy sunny super sure swift teal tender thankful thrifty tidy timely tranquil trusty upbeat useful valiant
		velvet verdant vibrant violet vivid warm willing windy winter wise witty worthy young zany zesty`)

	nouns = strings.Fields(`
		acorn albatross alder almond anchor antelope apple apricot arbor armadillo aspen aster badger bamboo banjo
		beacon bear beaver beech bell birch bison blossom bluebird bobcat brook buffalo bunting butterfly cactus camel
		canary canoe canyon caribou cedar cello cherry chestnut chipmunk cinnamon clarinet cliff cloud clover comet
		compass condor coral cottage cougar cove coyote crane creek cricket crocus curlew cypress daffodil dahlia daisy
		deer delta dingo dolphin dove dragonfly dune eagle egret elk elm falcon fennel fern ferret fiddle field fig
		finch fir firefly fjord flamingo flute forest fountain fox galaxy garden gazelle gecko geyser ginger giraffe
		glacier goldfinch goose grove gull hamster harbor hare harp hawk hazelnut hedgehog heron hickory hill hollow
		honeybee horizon hyacinth ibex ibis iguana impala iris island ivy jackal jaguar jasmine jay juniper kestrel
		kettle kiwi koala ladybug lagoon lake lantern larch lark laurel lavender lemon lemur leopard lighthouse lily
		linden lion llama lobster lotus lupine lynx lyre macaw magnolia magpie mango maple marigold marmot marten meadow
		meteor mongoose moon moose moth mountain mulberry myrtle narwhal nebula nectarine newt nightingale nutmeg oak
		oasis ocelot octopus olive orchard orchid oriole osprey otter owl oyster palm panda panther papaya parrot
		parsley peach pear pebble pecan pelican penguin peony pepper petunia pheasant piano pigeon pine plover plum
		pond poplar poppy porcupine primrose puffin puma quail quartz rabbit raccoon rainbow raven reef reindeer ridge
		river robin rocket rose rosemary rowan saffron sage salmon sandpiper seal sequoia sparrow spruce squirrel star
		starling stork stream sunflower swallow swan sycamore tamarin tapir teal terrier thistle thrush thyme tiger
		toucan trout tulip turtle valley vanilla viola violet violin walnut walrus warbler waterfall whale willow wolf
		wombat woodpecker wren yak yarrow zebra zinnia`)
)
