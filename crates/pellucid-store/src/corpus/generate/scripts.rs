//! Sentences in other scripts, from word lists whose forms fit together.
//!
//! A sentence is a subject, a verb and its complement, put together in the language's order. Nouns that would have to
//! agree are kept to one gender (or, in Korean, to one kind of ending), so that any combination is grammatical.

use super::dice::{Dice, fill};

/// What sentences of a language are made of. In a template `S` is a subject, `P` a place phrase, `V` a verb with its
/// object, `T` a time, `N` a number.
pub(super) struct Script {
    subjects: &'static [&'static str],
    places: &'static [&'static str],
    verbs: &'static [&'static str],
    times: &'static [&'static str],
    templates: &'static [&'static str],
}

impl Script {
    fn sentence(&self, dice: &mut Dice) -> String {
        let template = dice.pick(self.templates);
        let mut text = String::new();
        for letter in template.chars() {
            match letter {
                'S' => text.push_str(dice.pick(self.subjects)),
                'P' => text.push_str(dice.pick(self.places)),
                'V' => text.push_str(dice.pick(self.verbs)),
                'T' => text.push_str(dice.pick(self.times)),
                'N' => text.push_str(&dice.range(2, 99).to_string()),
                other => text.push(other),
            }
        }
        text
    }

    pub(super) fn document(&self, dice: &mut Dice, size: usize) -> String {
        let form = dice.below(4);
        fill(dice, size, |dice, count| {
            let sentence = self.sentence(dice);
            match form {
                0 => format!("{}. {sentence}\n", count + 1),
                1 => format!("- {sentence}\n"),
                _ if count % 5 == 4 => format!("{sentence}\n\n"),
                _ => format!("{sentence} "),
            }
        })
    }
}

pub(super) const HEBREW: Script = Script {
    subjects: &[
        "הילד",
        "המורה",
        "הרופא",
        "הסטודנט",
        "האיש",
        "החבר שלי",
        "הכלב",
        "השכן",
        "דוד",
        "יוסף",
        "הנהג",
        "הסופר",
    ],
    places: &[
        "בבית",
        "בעיר",
        "בגן",
        "בירושלים",
        "בבית הספר",
        "ברחוב",
        "ליד הים",
        "בשוק",
        "בספרייה",
        "בתל אביב",
    ],
    verbs: &[
        "קורא ספר",
        "שותה מים",
        "אוכל לחם",
        "כותב מכתב",
        "מדבר עם אחותו",
        "שומע מוזיקה",
        "קונה תפוחים",
        "רואה סרט",
        "לומד עברית",
        "מחכה לאוטובוס",
        "שר שיר ישן",
    ],
    times: &["היום", "בבוקר", "בערב", "כל יום", "ביום שני", "עכשיו", "בחורף", "אחרי הצהריים", "בשבת"],
    templates: &[
        "S V P.",
        "T S V.",
        "S V T.",
        "T, P, S V.",
        "למה S V P?",
        "S אומר: \"הילד V T\".",
        "יש N ספרים P.",
    ],
};

pub(super) const ARABIC: Script = Script {
    subjects: &[
        "الولد",
        "المعلم",
        "الطبيب",
        "الطالب",
        "الرجل",
        "صديقي",
        "أخي",
        "الجار",
        "أحمد",
        "يوسف",
        "السائق",
        "الكاتب",
    ],
    places: &[
        "في البيت",
        "في المدينة",
        "في الحديقة",
        "في القاهرة",
        "في المدرسة",
        "في الشارع",
        "قرب البحر",
        "في السوق",
        "في المكتبة",
    ],
    verbs: &[
        "يقرأ كتابا",
        "يشرب الماء",
        "يأكل الخبز",
        "يكتب رسالة",
        "يتكلم مع أخته",
        "يسمع الموسيقى",
        "يشتري التفاح",
        "يشاهد فيلما",
        "يدرس العربية",
        "ينتظر الحافلة",
    ],
    times: &["اليوم", "في الصباح", "في المساء", "كل يوم", "يوم الاثنين", "الآن", "في الشتاء", "بعد الظهر"],
    templates: &["S V P.", "T S V.", "S V T.", "لماذا S V P؟", "قال إن S V T.", "T، S V P.", "هل S V؟"],
};

pub(super) const RUSSIAN: Script = Script {
    subjects: &[
        "Мальчик",
        "Учитель",
        "Врач",
        "Студент",
        "Человек",
        "Мой друг",
        "Сосед",
        "Иван",
        "Сергей",
        "Писатель",
        "Водитель",
        "Дедушка",
    ],
    places: &[
        "дома",
        "в городе",
        "в саду",
        "в Москве",
        "в школе",
        "на улице",
        "у моря",
        "на рынке",
        "в библиотеке",
        "в поезде",
    ],
    verbs: &[
        "читает книгу",
        "пьёт воду",
        "ест хлеб",
        "пишет письмо",
        "говорит с сестрой",
        "слушает музыку",
        "покупает яблоки",
        "смотрит фильм",
        "учит русский язык",
        "ждёт автобус",
        "поёт старую песню",
    ],
    times: &[
        "сегодня",
        "утром",
        "вечером",
        "каждый день",
        "в понедельник",
        "сейчас",
        "зимой",
        "после обеда",
        "по субботам",
    ],
    templates: &[
        "S V P.",
        "S T V.",
        "S V T.",
        "Почему S V P?",
        "S T V P, а потом V.",
        "Страница N. S V.",
        "Говорят, что S V.",
    ],
};

pub(super) const GREEK: Script = Script {
    subjects: &[
        "Ο δάσκαλος",
        "Ο γιατρός",
        "Ο φοιτητής",
        "Ο άνθρωπος",
        "Ο φίλος μου",
        "Ο γείτονας",
        "Ο Γιάννης",
        "Ο Νίκος",
        "Ο συγγραφέας",
        "Ο οδηγός",
    ],
    places: &[
        "στο σπίτι",
        "στην πόλη",
        "στον κήπο",
        "στην Αθήνα",
        "στο σχολείο",
        "στον δρόμο",
        "κοντά στη θάλασσα",
        "στην αγορά",
        "στη βιβλιοθήκη",
    ],
    verbs: &[
        "διαβάζει ένα βιβλίο",
        "πίνει νερό",
        "τρώει ψωμί",
        "γράφει ένα γράμμα",
        "μιλάει με την αδελφή του",
        "ακούει μουσική",
        "αγοράζει μήλα",
        "βλέπει μια ταινία",
        "μαθαίνει ελληνικά",
        "περιμένει το λεωφορείο",
    ],
    times: &[
        "σήμερα",
        "το πρωί",
        "το βράδυ",
        "κάθε μέρα",
        "τη Δευτέρα",
        "τώρα",
        "τον χειμώνα",
        "το απόγευμα",
    ],
    templates: &["S V P.", "S V T.", "S T V P.", "Γιατί V T;", "Σελίδα N: S V.", "S λέει ότι V P."],
};

pub(super) const KOREAN: Script = Script {
    subjects: &[
        "학생은",
        "선생님은",
        "의사는",
        "친구는",
        "동생은",
        "아버지는",
        "어머니는",
        "민수는",
        "지은은",
        "할머니는",
        "이웃은",
        "작가는",
    ],
    places: &[
        "집에서",
        "도시에서",
        "공원에서",
        "서울에서",
        "학교에서",
        "길에서",
        "바다 옆에서",
        "시장에서",
        "도서관에서",
        "기차에서",
    ],
    verbs: &[
        "책을 읽습니다",
        "물을 마십니다",
        "빵을 먹습니다",
        "편지를 씁니다",
        "누나와 이야기합니다",
        "음악을 듣습니다",
        "사과를 삽니다",
        "영화를 봅니다",
        "한국어를 배웁니다",
        "버스를 기다립니다",
        "노래를 부릅니다",
    ],
    times: &["오늘", "아침에", "저녁에", "매일", "월요일에", "지금", "겨울에", "오후에", "토요일에"],
    templates: &["S P V.", "S T V.", "T S P V.", "S T P V.", "N쪽: S V.", "그래서 S V."],
};
