"""What a subject says of who wrote the answer: the marks of automatic answers, and the "Re:" of people.

Owns: these words, in the languages of Exchange, Outlook, Notes, FirstClass, vacation(1) and webmails, and in any spelling: with
or without accents, hyphens, brackets, a gateway's tag before them. Leaves to others: what header fields say (`automatic`).

A mark counts at the beginning only, and only as a whole: "Automatic reply handling in our product" is about something else.
A person's answer to such a notice has "Re:" before it. For any text; only the first part is read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

LONGEST = 300  # characters that are read
MAX_TAGS = 4  # in brackets before what the subject is

IN_WORD = re.compile(r"(?<=\w)[\-_‐-―](?=\w)")
QUOTES = re.compile("[`´‘’ʼ′]")
BLANK = re.compile(r"[\s\u200b\ufeff]+")

# What programs put before the subject of an automatic answer: "Automatic reply: Offer".
REPLIES = """
automatic reply | automatic response | automatic answer | automatic e-mail reply | automatic email reply | automatic acknowledgement
automated reply | automated response | automated answer | automated acknowledgement | auto reply | autoreply | auto replied
auto reply message | auto response | autoresponse | auto responder | autoresponder | auto respond | auto answer | autoanswer
auto re | auto acknowledgement | auto generated reply | auto generated response | automatically generated reply
vacation reply | vacation response | vacation responder | vacation autoreply | vacation auto reply | vacation message
vacation notice | vacation notification | holiday notice | holiday notification | absence notice | absence notification
absence message | away message | away notice | out of office autoreply | out of office auto reply | out of office reply
out of office response | out of office notification | out of office notice | out of office message | out of office assistant
out of the office reply | out of the office autoreply | out of the office auto reply | out of the office message | oof reply | ooo reply
automatische antwort | automatische rückantwort | automatische e-mail | automatische email | automatische mail | automatische nachricht
automatische abwesenheitsnotiz | automatische abwesenheitsmeldung | automatische empfangsbestätigung | automatische eingangsbestätigung
automatische rückmeldung | autom. antwort | auto antwort | autoantwort | abwesenheitsnotiz | abwesenheitsassistent | abwesenheitsbenachrichtigung
abwesenheitsmeldung | abwesenheitsnachricht | abwesenheitsmitteilung | abwesenheitsinfo | abwesenheitsagent | urlaubsnotiz | urlaubsmeldung
urlaubsbenachrichtigung
réponse automatique | réponse auto | répondeur automatique | réponse d'absence | réponse automatique d'absence | message automatique
message d'absence | message automatique d'absence | notification d'absence | avis d'absence | absence du bureau | accusé de réception automatique
respuesta automática | contestación automática | respuesta automática de fuera de oficina | mensaje automático | mensaje de ausencia
aviso de ausencia | notificación de ausencia | auto respuesta | autorespuesta | respuesta de ausencia
risposta automatica | messaggio automatico | messaggio di assenza | avviso di assenza | notifica di assenza | risposta di assenza
auto risposta | risponditore automatico
resposta automática | resposta de ausência | mensagem automática | mensagem de ausência | aviso de ausência | notificação de ausência
auto resposta | autoresposta | resposta automàtica | missatge d'absència | mensaxe de ausencia
automatisch antwoord | automatische beantwoording | automatische reactie | automatisch bericht | afwezigheidsbericht | afwezigheidsassistent
afwezigheidsmelding | afwezigheidsmededeling | bericht van afwezigheid | bericht bij afwezigheid | autom. antwoord | automatiese antwoord
outomatiese antwoord
automatiskt svar | autosvar | frånvaromeddelande | frånvarobesked | frånvaroassistent | frånvaroavisering
automatisk svar | automatisk besvarelse | autosvar | fraværsmeddelelse | fraværsbesked | fraværsassistent | fraværsmelding | fraværsmeddelande
automatisk melding | sjálfvirkt svar
automaattinen vastaus | automaattivastaus | poissaoloviesti | poissaoloilmoitus | poissaoloilmoittaja | autom. vastaus
odpowiedź automatyczna | automatyczna odpowiedź | autoodpowiedź | autoresponder | informacja o nieobecności | powiadomienie o nieobecności
automatická odpověď | automatická odpoveď | automatická zpráva | automatická správa | oznámení o nepřítomnosti | oznámenie o neprítomnosti
zpráva o nepřítomnosti | upozornění na nepřítomnost | automatikus válasz | automatikus üzenet | házon kívül üzenet | távolléti értesítés
távolléti üzenet
răspuns automat | mesaj automat | mesaj de absență | automatski odgovor | automatski odaziv | automatska poruka | automatizirani odgovor
samodejni odgovor | avtomatski odgovor | samodejno sporočilo | obvestilo o odsotnosti | obavijest o odsutnosti
автоматический ответ | автоответ | автоответчик | автоматическое сообщение | автоматическое уведомление | уведомление об отсутствии
автоматична відповідь | автовідповідь | автовідповідач | автоматичне повідомлення | аўтаматычны адказ | автоматичен отговор
автоматично съобщение | аутоматски одговор | автоматски одговор | автоматты жауап | автоматтык жооп | автомат хариу
automaatvastus | automaatne vastus | puhkuseteade | automātiska atbilde | automātiskā atbilde | automātisks paziņojums
automatinis atsakymas | automatinis pranešimas | otomatik yanıt | otomatik cevap | otomatik mesaj | ofis dışında yanıtı | avtomatik cavab
avtomatik javob | αυτόματη απάντηση | αυτόματο μήνυμα | αυτόματη απόκριση | μήνυμα απουσίας | erantzun automatikoa | përgjigje automatike
ateb awtomatig | freagra uathoibríoch | uathfhreagra | risposta awtomatika | tweġiba awtomatika | awtomatikong tugon | awtomatikong sagot
balasan otomatis | jawaban otomatis | balasan automatik | jawapan automatik | pesan otomatis | jibu otomatiki | jibu la kiotomatiki
thư trả lời tự động | trả lời tự động | tự động trả lời | phản hồi tự động | thông báo vắng mặt
תשובה אוטומטית | מענה אוטומטי | הודעה אוטומטית | رد تلقائي | الرد التلقائي | رد آلي | رسالة تلقائية | پاسخ خودکار | خودکار جواب
स्वचालित उत्तर | स्वतः उत्तर | स्वचालित प्रतिक्रिया | स्वत उत्तर | স্বয়ংক্রিয় উত্তর | தானியங்கு பதில் | స్వయంచాలక ప్రత్యుత్తరం
ავტომატური პასუხი | ինքնապատասխան | ավտոմատ պատասխան
"""
# The same in scripts that have no spaces between words; what may follow them is `ATTACHED`.
UNSPACED = """
自動応答 | 自動返信 | 自動回答 | 自動送信 | 自動返答 | 不在通知 | 不在応答 | 不在連絡 | 外出通知 | 不在のお知らせ | 不在自動応答
自动答复 | 自动回复 | 自动应答 | 自动响应 | 外出自动回复 | 休假自动回复 | 自動回覆 | 自動答覆 | 自動回復 | 自動回應 | 自動回信
자동 회신 | 자동 응답 | 자동 답장 | 자동회신 | 자동응답 | 자동답장 | 부재중 | 부재 중 | 부재중 자동 회신 | ตอบกลับอัตโนมัติ | การตอบกลับอัตโนมัติ
ตอบรับอัตโนมัติ | ข้อความตอบกลับอัตโนมัติ
"""
ATTACHED = "メール|メッセージ|通知|のお知らせ|信息|消息|邮件|郵件|訊息|메일|메시지|알림|입니다|来自|來自"
# Where somebody is not: "Out of office", "Bea is out of the office.", "Bea ist außer Haus (Rückkehr am 3.2.)".
AWAY = """
out of office | out of the office | out of my office | out of our office | out of town | out on leave | away from office
away from the office | away from my office | away from my desk | away from my mail | away from my email | away from my e-mail
away from mail | away from email | on vacation | on holiday | on holidays | on leave | on annual leave | on parental leave
on maternity leave | on paternity leave | on sick leave | on pto | not in the office | not in office | currently away | currently unavailable
nicht im büro | nicht im haus | nicht im hause | nicht am arbeitsplatz | nicht erreichbar | außer haus | ausser haus | außer hause
abwesend | abwesenheit | im urlaub | derzeit abwesend | derzeit nicht im büro | zur zeit abwesend | zurzeit abwesend 
absent | absente | absent du bureau | absente du bureau | hors du bureau | pas au bureau | en congé | en congés | en vacances | en déplacement
absent(e) | en dehors du bureau
ausente | ausente de la oficina | fuera de la oficina | fuera de oficina | no está en la oficina | de vacaciones | de vacances | fora de l'oficina
assente | assente dall'ufficio | fuori ufficio | fuori sede | fuori dall'ufficio | in ferie | in vacanza
ausente do escritório | fora do escritório | fora da empresa | de férias | em férias | não está no escritório | fóra da oficina
afwezig | afwezigheid | niet aanwezig | niet op kantoor | buiten kantoor | met vakantie | op vakantie | met verlof
inte på kontoret | frånvarande | frånvaro | ej på plats | ej anträffbar | på semester | tjänstledig | föräldraledig | bortrest
ikke på kontoret | ikke til stede | fraværende | fravær | ude af kontoret | ude af huset | på ferie | bortreist | ute av kontoret
poissa toimistosta | poissa | poissaolo | lomalla | ei paikalla | ei tavoitettavissa
poza biurem | nieobecny | nieobecna | nieobecność | nieobecność w biurze | na urlopie
mimo kancelář | nepřítomnost | nepřítomen | nepřítomna | na dovolené | mimo kancelárie | mimo kancelárii | neprítomnosť | na dovolenke
házon kívül | irodán kívül | távollét | szabadságon | távol | în afara biroului | plecat din birou | absent din birou | în concediu
izvan ureda | van kancelarije | odsutan | odsutna | na godišnjem odmoru | odsoten | odsotna | odsotnost | na dopustu
вне офиса | не в офисе | отсутствие на рабочем месте | нет на месте | отсутствую | отсутствует | в отпуске | поза офісом | не в офісі | відсутній
відсутня | у відпустці | извън офиса | отсъствие | в отпуск
kontorist väljas | puhkusel | ārpus biroja | atvaļinājumā | prombūtnē | ne biure | nėra biure | atostogose | atostogauju
ofis dışında | ofis dışı | ofiste değil | izinde | izindeyim | εκτός γραφείου | σε άδεια | απουσία από το γραφείο | απουσία
מחוץ למשרד | בחופשה | לא במשרד | خارج المكتب | خارج مكتب | في إجازة | خارج از دفتر | در مرخصی
di luar kantor | sedang cuti | di luar pejabat | vắng mặt | ngoài văn phòng | đi vắng
"""
# What joins a person's name to where they are not: Notes' form. Languages that leave it out have the name alone.
IS = "is|are|am|will be|ist|sind|bin|est|suis|sera|esta|estoy|se encuentra|e|sono|sara|estou|encontra se|zijn|er|ar|on|jest|je|ni|nie ma"
WHO = "i am|i m|i will be|we are|ich bin|wir sind|bin|je suis|nous sommes|estoy|sono|estou|ik ben|jag ar|jeg er|olen"
IS_AWAY = (
    "は不在です | は外出中です | は不在にしています | 不在办公室 | 不在辦公室 | 님이 부재중 | 은 부재중 | 는 부재중"
)
ASKS = "who|when|what|which|where|why|if|wer|wann|wenn|qui|quand|si|chi|quien"
# What may come between a mark and its end: "Auto reply from b@example.com: Offer", "Out of office until 5 May".
GOES_ON = (
    "from|by|for|of|to|on|until|till|til|through|thru|untill|since|between|today|tomorrow|this|next|returning|back|re|fw|fwd|aw|wg|sv|vs|tr|antw"
    "|von|vom|bis|fur|ab|an|zu|am|bei|wegen|seit|de|du|des|d'|jusqu'au|jusqu|jusque|pour|le|del|de la|desde|hasta|para|el|al|di|da|dal|dall'|fino"
    "|per|do|dos|ate|van|tot|tot en met|t/m|voor|vanaf|op|fran|till|for|fra|til|od|do|dla|z|od|az|ig|pana|din|от|до|с|по|для|від|з|за|kuni|lidz|iki"
    "|των|απο|εως|מ|עד|من|حتى|dari|sampai|hingga|untuk|tu|den|cho|tarihine|kadar|saakka|asti"
)
# "Re:" in the words of mail programs: with a number as FirstClass, The Bat and Notes write it, forwarded too.
PERSONS = re.compile(
    r"(?:re|r|aw|antw|antwort|ant|sv|vs|vl|vb|ref|rep|res|resp|rif|rv|rsp|odp|odg|odgovor|pd|ynt|ilt|atb|ats|ang|atn|va|bls|ad|hm|fw|fwd|wg|tr|enc|doorst|i"
    r"|отв|ответ|на|пересл|fs|σχετ|απ|προωθ|השב|תשובה|הועבר|رد|إعادة توجيه|回复|回覆|答复|答覆|回|返信|転送|转发|轉寄|답장|회신|전달|ตอบ|ส่งต่อ|tl|trả lời|chuyển tiếp)"
    r"[.]?(?: ?[\[(^*]? ?\d{1,3} ?[\])]?)? ?:"
)  # fmt: skip
TAG = re.compile(
    r"(?:[\[(<{【「『（［《〔«*]+ ?([^\[\](){}<>【】「」『』（）［］《》〔〕«»:]{1,60}?) ?[\])>}】」』）］》〕»*]+|(?:external|extern|ext|externe|esterno) ?:) ?"
)
OPENS, CLOSES = r"[\[(<{【「『《〔«\"'*=#~+|.:\- ]{0,8}", r"[\])>}】」』》〕»\"'*=#~+]"


def spelt(text: str, longest: int = LONGEST) -> str:
    """The spelling that is compared: without accents, in one case, hyphens within words and white space as single spaces."""
    text = unicodedata.normalize("NFKD", text[:longest])
    text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    text = IN_WORD.sub(" ", QUOTES.sub("'", text.casefold().replace("ı", "i")))
    return BLANK.sub(" ", text).strip()


def words(table: str) -> list[str]:
    return [word for row in table.split("\n") for word in row.split("|") if word.strip()]


def either(table: Iterable[str]) -> str:
    """A pattern for these words, the longest first; a space of theirs need not be there."""
    known = sorted({spelt(word) for word in table}, key=len, reverse=True)
    return "|".join(re.escape(word).replace(r"\ ", " ?") for word in known)


class Marks(NamedTuple):
    """`first` are those that stand at the beginning; `absent` are sentences: "Bea is out of the office." """

    first: re.Pattern[str]
    absent: re.Pattern[str]


@cache  # once asked for: making them takes 100 ms
def marks() -> Marks:
    reply, away, unspaced = either(words(REPLIES)), either(words(AWAY)), either(words(UNSPACED))
    goes_on, now = either(GOES_ON.split("|")), "(?:(?:currently|derzeit|momentan|actuellement) )?"
    end = rf" ?(?:$|{CLOSES}|[:;,!|.\-‐-―(]|(?:{goes_on})(?!\w))"
    first = (
        rf"(?:{reply}){end}",
        rf"(?:{unspaced})(?:{either(ATTACHED.split('|'))})?(?: |{end})",
        rf"(?:(?:{either(WHO.split('|'))}) )?{now}(?:{away}){end}",
        rf"(?:auto|ooo|ooto|oof)(?: ?:| ?{CLOSES})",  # "Auto:" is RFC 5230's default, and Notes'
    )
    # To the end of the subject, or with the time of return.
    sentence = rf"(?!(?:{ASKS}) )[^:]{{1,120}}? (?:{either(IS.split('|'))}) {now}(?:{away}) ?(?:$|[.!] ?$|\(|(?:{goes_on})(?!\w))"
    unspaced_sentence = rf".{{1,60}}(?:{either(words(IS_AWAY))})"
    return Marks(re.compile(f"{OPENS}(?:{'|'.join(first)})"), re.compile(f"{sentence}|{unspaced_sentence}"))


def automatic(subject: str) -> bool:
    """Whether the subject begins with the mark of an automatic answer."""
    text, known = spelt(subject), marks()
    for _ in range(MAX_TAGS):
        if PERSONS.match(text):
            return False
        if known.first.match(text):
            return True
        tag = TAG.match(text)
        if not tag:
            break
        text = text[tag.end() :]
    return bool(known.absent.match(text))


def persons(subject: str) -> bool:
    """Whether the subject begins as a person's answer does."""
    return bool(PERSONS.match(spelt(subject)))
