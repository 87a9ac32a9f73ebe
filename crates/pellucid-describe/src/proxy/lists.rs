//! Word lists: modest, written for this purpose, of words that are mostly one token. A word may stand in several.

use super::Bits;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Many, one, the words in lower case.
pub(super) const LISTS: &[(&str, &str, &str)] = &[
    (
        "months",
        "a month",
        "january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct nov dec",
    ),
    (
        "weekdays",
        "a weekday",
        "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun tues thurs",
    ),
    (
        "seasons and times of day",
        "a season or time of day",
        "spring summer autumn winter fall morning afternoon evening night noon midnight dawn dusk today tomorrow yesterday tonight",
    ),
    (
        "units of time",
        "a unit of time",
        "second seconds minute minutes hour hours day days week weeks month months year years decade decades century centuries moment",
    ),
    (
        "colours",
        "a colour",
        "red orange yellow green blue purple violet pink brown black white grey gray gold golden silver crimson scarlet turquoise beige azure",
    ),
    (
        "countries",
        "a country",
        "america england britain france germany italy spain portugal russia china japan korea india pakistan iran iraq israel egypt turkey greece poland ukraine sweden norway finland denmark netherlands holland belgium austria switzerland ireland scotland wales canada mexico brazil argentina chile peru colombia cuba australia nigeria kenya ethiopia ghana morocco algeria libya syria lebanon jordan afghanistan vietnam thailand indonesia malaysia philippines hungary romania bulgaria serbia croatia iceland",
    ),
    (
        "cities",
        "a city",
        "london paris berlin rome madrid lisbon moscow beijing tokyo seoul delhi mumbai cairo athens warsaw kiev kyiv stockholm oslo helsinki copenhagen amsterdam brussels vienna bern dublin edinburgh ottawa toronto boston chicago york washington philadelphia houston dallas seattle miami denver detroit atlanta sydney melbourne canberra shanghai istanbul jerusalem baghdad tehran prague budapest munich hamburg milan venice barcelona angeles francisco",
    ),
    (
        "nationalities and languages",
        "a nationality or language",
        "american english british french german italian spanish portuguese russian chinese japanese korean indian iranian israeli egyptian turkish greek polish ukrainian swedish norwegian finnish danish dutch belgian austrian swiss irish scottish welsh canadian mexican brazilian australian african european asian latin arabic hebrew persian hindi",
    ),
    (
        "directions",
        "a direction",
        "north south east west northern southern eastern western northeast northwest southeast southwest left right up down",
    ),
    (
        "numbers in words",
        "a number in words",
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion dozen half",
    ),
    (
        "ordinals",
        "an ordinal",
        "first second third fourth fifth sixth seventh eighth ninth tenth last th st nd rd",
    ),
    (
        "pronouns",
        "a pronoun",
        "i you he she it we they me him her us them myself yourself himself herself itself ourselves themselves",
    ),
    ("possessives", "a possessive", "my your his her its our their mine yours hers ours theirs whose"),
    (
        "prepositions",
        "a preposition",
        "of in to for with on at from by about as into like through after over between out against during without before under around among within along across behind beyond toward towards upon above below beneath near off onto despite except until since per via",
    ),
    ("articles", "an article", "a an the"),
    ("demonstratives", "a demonstrative", "this that these those such"),
    (
        "quantifiers",
        "a quantifier",
        "all any both each every few fewer less many more most much neither no none several some enough half",
    ),
    ("forms of to be", "a form of to be", "be am is are was were been being 's 're 'm"),
    (
        "auxiliary verbs",
        "an auxiliary verb",
        "can could may might must shall should will would do does did have has had having ought 'll 'd 've",
    ),
    (
        "conjunctions",
        "a conjunction",
        "and or but nor so yet because although though while whereas unless if since until when whether than",
    ),
    ("question words", "a question word", "who whom whose what which when where why how"),
    (
        "negations",
        "a negation",
        "not no never none nothing nobody nowhere neither nor without n't cannot don't doesn't didn't isn't wasn't won't can't",
    ),
    (
        "connecting adverbs",
        "a connecting adverb",
        "however therefore thus hence moreover furthermore nevertheless nonetheless meanwhile instead otherwise consequently accordingly besides likewise similarly finally indeed",
    ),
    (
        "adverbs of degree",
        "an adverb of degree",
        "very quite rather too so extremely really fairly highly almost nearly just only even much more most less least completely totally entirely",
    ),
    (
        "adverbs of frequency",
        "an adverb of frequency",
        "always usually often sometimes rarely seldom never frequently occasionally once twice again",
    ),
    (
        "comparatives",
        "a comparative",
        "better worse more less larger smaller bigger greater higher lower longer shorter older younger faster slower stronger weaker easier harder earlier later",
    ),
    (
        "superlatives",
        "a superlative",
        "best worst most least largest smallest biggest greatest highest lowest longest shortest oldest youngest fastest slowest strongest",
    ),
    (
        "words for size",
        "a word for size",
        "big small large little huge tiny enormous vast giant great tall short long wide narrow thick thin deep",
    ),
    (
        "family",
        "a family word",
        "mother father parent parents son daughter child children brother sister uncle aunt cousin nephew niece grandfather grandmother wife husband family mom dad baby twin spouse",
    ),
    (
        "people",
        "a word for people",
        "man woman men women boy girl boys girls person people friend friends neighbor guy lady gentleman kid kids adult citizen citizens",
    ),
    (
        "titles",
        "a title",
        "mr mrs ms miss dr sir lord lady king queen prince princess president senator governor mayor professor captain general colonel duke emperor pope bishop chief minister chairman",
    ),
    (
        "occupations",
        "an occupation",
        "doctor nurse teacher lawyer engineer farmer artist writer author actor actress singer musician scientist soldier officer driver pilot judge student worker cook chef carpenter painter poet journalist editor director manager secretary merchant",
    ),
    (
        "first names",
        "a first name",
        "john mary james robert michael william david richard joseph thomas charles peter paul george mark henry edward jack tom bob anna sarah elizabeth susan jane alice emma kate linda barbara maria lucy laura martin simon daniel andrew alex sam ben tim jim bill frank lily max",
    ),
    (
        "body parts",
        "a body part",
        "head face eye eyes ear ears nose mouth lip lips tooth teeth tongue neck shoulder arm arms elbow hand hands finger fingers chest back stomach leg legs knee foot feet toe skin hair bone bones heart brain blood lung liver kidney muscle",
    ),
    (
        "animals",
        "an animal",
        "dog dogs cat cats horse horses cow cows pig pigs sheep goat chicken duck bird birds fish whale whales shark lion tiger bear wolf fox rabbit mouse rat elephant monkey snake frog bee ant insect insects spider butterfly eagle owl deer animal animals",
    ),
    (
        "plants",
        "a plant",
        "tree trees flower flowers plant plants grass leaf leaves root roots seed seeds forest wood rose oak pine garden crop crops wheat corn rice fruit",
    ),
    (
        "food and drink",
        "food or drink",
        "food bread milk water cheese meat beef pork fish rice egg eggs butter sugar salt oil fruit apple apples banana orange potato tomato onion soup cake chocolate coffee tea wine beer juice breakfast lunch dinner meal pizza sauce",
    ),
    (
        "clothes",
        "clothing",
        "shirt dress coat hat shoe shoes boots pants skirt jacket suit clothes clothing gloves scarf belt pocket sleeve cotton wool silk",
    ),
    (
        "houses and furniture",
        "a part of a house",
        "house home room door window wall floor roof kitchen bedroom bathroom table chair bed desk lamp stairs garden garage ceiling furniture",
    ),
    (
        "places and buildings",
        "a place or building",
        "city town village street road bridge building church school hospital office store shop market hotel restaurant library museum station airport park castle temple factory farm university college",
    ),
    (
        "weather",
        "weather",
        "rain snow wind storm cloud clouds sun sunny hot cold warm weather temperature fog ice thunder lightning hurricane flood heat climate",
    ),
    (
        "nature and landscape",
        "a landscape word",
        "sea ocean river lake mountain mountains hill valley island desert beach coast forest rock stone sand sky earth land field waves",
    ),
    (
        "astronomy",
        "a word of astronomy",
        "star stars planet planets moon sun earth mars venus jupiter saturn galaxy galaxies universe orbit comet asteroid telescope solar cosmic space nasa",
    ),
    (
        "science",
        "a word of science",
        "science scientific theory experiment energy atom atoms molecule molecules electron cell cells gene genes protein proteins dna physics chemistry biology quantum particle particles chemical acid species evolution laboratory hypothesis",
    ),
    (
        "mathematics",
        "a word of mathematics",
        "number equation function theorem proof sum product matrix vector algebra geometry integral derivative polynomial variable set infinite prime calculate equal equals square triangle circle angle",
    ),
    (
        "measures",
        "a measure",
        "meter meters metre metres km cm mm kg gram grams pound pounds mile miles foot feet inch inches acre acres ton tons liter liters gallon degrees percent",
    ),
    (
        "medicine",
        "a word of medicine",
        "disease patient patients doctor hospital cancer treatment drug drugs symptoms infection virus bacteria vaccine surgery medical medicine diagnosis therapy fever pain diabetes clinical",
    ),
    (
        "law",
        "a word of law",
        "law laws court judge jury legal trial crime criminal attorney lawyer evidence guilty sentence rights contract plaintiff defendant statute justice supreme constitution constitutional amendment act",
    ),
    (
        "government and politics",
        "a word of politics",
        "government president congress senate parliament election elections vote party democratic republican policy political federal state nation national treaty tax taxes minister democracy republic citizens campaign",
    ),
    (
        "economy",
        "a word of the economy",
        "money bank market trade price prices cost costs economy economic business company companies industry dollar dollars profit income debt credit budget tax investment stock financial loan wages",
    ),
    (
        "military",
        "a military word",
        "war army navy soldier soldiers battle military troops weapon weapons gun guns bomb attack enemy forces officer general captain defense victory fleet regiment missile nuclear fought",
    ),
    (
        "religion",
        "a word of religion",
        "god church religion religious faith prayer bible christian christ jesus jewish muslim islam islamic holy priest pope bishop temple soul heaven hell angel sin buddhist hindu sacred spiritual lord",
    ),
    (
        "sports",
        "a word of sport",
        "game games team teams player players ball football baseball basketball soccer tennis golf hockey cricket coach league season championship cup olympic match goal score race racing win won stadium",
    ),
    (
        "music and arts",
        "a word of the arts",
        "music song songs album band singer guitar piano concert opera orchestra art artist painting film films movie novel poem poetry theatre theater dance actor book books stage",
    ),
    (
        "schools",
        "a word of education",
        "school student students teacher teachers class university college education learning course degree exam grade lesson homework study curriculum academic",
    ),
    (
        "computers",
        "a word of computing",
        "computer software program code data file files server network internet web website user users password click download database algorithm system input output memory button app",
    ),
    (
        "programming keywords",
        "a programming keyword",
        "def return import class function const let var public private static void int string float bool null none true false self if else elif for while try except catch throw new print include struct enum fn async await lambda",
    ),
    (
        "vehicles",
        "a vehicle",
        "car cars truck bus train trains plane planes airplane aircraft ship ships boat boats bicycle bike motorcycle vehicle vehicles helicopter submarine wagon engine",
    ),
    (
        "emotions",
        "an emotion",
        "love hate fear anger joy sad happy sadness happiness angry afraid hope despair pride shame guilt envy grief worry anxious excited nervous lonely calm jealous",
    ),
    (
        "words of praise",
        "a word of praise",
        "good great excellent wonderful amazing beautiful fantastic perfect best brilliant lovely nice awesome superb outstanding impressive",
    ),
    (
        "words of blame",
        "a word of blame",
        "bad terrible awful horrible worst poor ugly wrong evil stupid dangerous disaster failure nasty disgusting",
    ),
    (
        "verbs of saying",
        "a verb of saying",
        "say says said tell tells told speak spoke talk talked ask asked asks reply replied answer answered explain explained shout shouted whisper whispered claim claimed state stated announced declared",
    ),
    (
        "verbs of thinking",
        "a verb of thinking",
        "think thinks thought know knows knew believe believes believed understand understood feel felt remember forget guess suppose imagine wonder consider realize realized learn learned",
    ),
    (
        "verbs of motion",
        "a verb of motion",
        "go goes went gone come came run ran walk walked move moved travel traveled fly flew drive drove climb jump jumped fall fell return returned arrive arrived leave left enter entered",
    ),
    (
        "verbs of seeing",
        "a verb of seeing",
        "see sees saw seen look looks looked watch watched view observe observed notice noticed show shows shown appear appears find found",
    ),
    (
        "death and harm",
        "a word of death or harm",
        "death dead die died dies kill killed murder murdered destroy destroyed injury injured wound wounded victim victims suffer violence suicide corpse grave",
    ),
    (
        "metals and materials",
        "a material",
        "iron steel gold silver copper lead tin aluminum metal wood stone glass plastic paper concrete brick leather rubber coal oil gas",
    ),
    (
        "greetings and thanks",
        "a greeting or thanks",
        "hello hi hey goodbye bye thanks thank please welcome sorry dear sincerely regards congratulations",
    ),
    (
        "words of cause",
        "a word of cause",
        "because therefore thus since cause caused causes due result results reason reasons hence consequently lead leads led",
    ),
];

/// The lists, ready to look a word up. A constant that takes a moment to make, hence made once.
static READY: LazyLock<HashMap<&'static str, Bits>> = LazyLock::new(|| {
    let mut by_word: HashMap<&'static str, Bits> = HashMap::new();
    for (number, (_, _, words)) in LISTS.iter().enumerate() {
        for word in words.split(' ') {
            by_word.entry(word).or_default().insert(number);
        }
    }
    by_word
});

/// The lists that hold a word, given in lower case.
pub(super) fn lists_of(lower: &str) -> Bits {
    READY.get(lower).copied().unwrap_or_default()
}
