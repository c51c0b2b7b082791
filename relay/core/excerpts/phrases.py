"""How mail programs introduce what they quote, and how people end a letter, in many languages.

Owns: these words, and whether a line is such a one. Leaves to others: what follows from it (`excerpts`).

Each question is about a line, or a few joined, of at most LONGEST characters: so the time for a text is linear in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 600  # characters of a line, or of an introduction over several, that are looked at
LONGEST_CLOSING = 80
MAX_SIGNATURE = 15  # lines below closing words that are a signature
LONGEST_SIGNED = 120  # characters of such a line
POSTSCRIPT = re.compile(r"p\.? ?s\b", re.I)
SPACE = re.compile(r"[\s\u200b\u200e\u200f\ufeff*_]+")

WROTE = re.compile(
    r"\b(?:wrote|writes|has written|schrieb|schrieben|hat geschrieben|schreibt|a écrit|écrivait|écrit|escribió|ha escrito|escribe|ha scritto|scrive|scrisse"
    r"|escreveu|escreve|schreef|heeft geschreven|geschreven|skrev|har skrevet|skrifaði|kirjoitti|napisał|napisała|napisał\(a\)|napisali|pisze|napsal|napsala"
    r"|napsal\(a\)|napísal|napísala|napísal\(a\)|írta|ezt írta|a scris|je napisao|je napisala|je napisao/la|napisao|napisala|je napisal|je napisala"
    r"|pišete|написа|написал|написала|написал\(а\)|пишет|пише|написав|написала|είπε|έγραψε|yazdı|şunu yazdı|şunları yazdı|kirjutas|rakstīja|rašė|parašė|va escriure"
    r"|idatzi du|escribiu|đã viết|menulis|menulis|wrote on)\b|写道|寫道|写到|のメール|さんは書きました|님이 작성|작성:|님의 말:|כתב|כתבה|كتب|نوشت|เขียน",
    re.I,
)
EVIDENCE = re.compile(r"[0-9@<]")
MOMENT = re.compile(r"\b(?:19|20)[0-9]{2}\b|[0-9]{1,2}[:.][0-9]{2}")
ADDRESS = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")
# A line of words between strokes, whatever the words are: "-----Original Message-----", "---- On Monday Ann wrote ----".
STROKES = re.compile(r"[-=_—–‐*~]{3,}+ ?[^-=_—–‐*~\s].{0,200}?[-=_—–‐*~]{3,}")
FORWARDED = re.compile(
    r"(?:begin forwarded message|anfang der weitergeleiteten (?:nachricht|e-mail)|début du message réexpédié|début du message transféré"
    r"|inicio del mensaje reenviado|inizio messaggio inoltrato|início da mensagem reencaminhada|início da mensagem encaminhada|begin doorgestuurd bericht"
    r"|vidarebefordrat brev|videresendt (?:besked|melding)|välitetty viesti alkaa|początek przekazywanej wiadomości|začátek přeposílané zprávy"
    r"|original message|ursprüngliche nachricht|message d'origine|mensaje original|messaggio originale|mensagem original|oorspronkelijk bericht"
    r"|ursprungligt meddelande|oprindelig meddelelse|opprinnelig melding|alkuperäinen viesti|wiadomość oryginalna|původní zpráva|pôvodná správa"
    r"|eredeti üzenet|mesajul original|исходное сообщение|оригінальне повідомлення|orijinal mesaj|转发的邮件|原始邮件|原郵件|転送メッセージ|元のメッセージ|원본 메시지) ?:?",
    re.I,
)
UNDERLINE = re.compile(r"[_—–=-]{8,}")
# The labels of a header section as programs quote it: who, and the rest.
FROM = re.compile(
    r"(?:from|von|de|da|fra|från|van|od|от|від|από|feladó|lähettäjä|saatja|nuo|no|expéditeur|remitente|mittente|absender|remetente|afzender|avsändare|afsender"
    r"|avsender|nadawca|odesílatel|odosielateľ|expeditor|pošiljatelj|pošiljalec|şunu yazan|kimden|gönderen|מאת|من|از|จาก|từ|dari|发件人|寄件者|寄件人|差出人|送信者|from"
    r"|보낸 사람|보낸사람|발신) ?[:：].{0,400}",
    re.I,
)
FIELD = re.compile(
    r"(?:sent|date|to|cc|subject|reply-to|importance|gesendet|datum|an|kopie|betreff|antwort an|envoyé|envoyé le|date|à|copie|objet|enviado|enviado el|fecha|para|asunto"
    r"|inviato|data|a|oggetto|enviado em|enviada em|enviada|assunto|verzonden|aan|onderwerp|skickat|till|kopia|ämne|sendt|dato|til|emne|lähetetty|päivämäärä|päiväys"
    r"|vastaanottaja|kopio|aihe|wysłano|wysłane|do|dw|temat|odesláno|komu|předmět|odoslané|predmet|elküldve|címzett|tárgy|dátum|trimis|către|subiect|poslano|za|zadeva"
    r"|отправлено|дата|кому|копия|тема|надіслано|копія|изпратено|до|относно|στάλθηκε|ημερομηνία|προς|θέμα|gönderildi|gönderme tarihi|tarih|kime|konu|saadetud|kellele|teema"
    r"|נשלח|אל|תאריך|נושא|تم الإرسال|إلى|الموضوع|التاريخ|ส่ง|ถึง|เรื่อง|đã gửi|ngày|tới|đến|chủ đề|dikirim|terkirim|tanggal|kepada|perihal|subjek"
    r"|发送时间|发送日期|日期|时间|收件人|抄送|主题|傳送時間|寄件日期|收件者|副本|主旨|送信日時|日時|日付|宛先|件名|보낸 날짜|보낸날짜|날짜|받는 사람|받는사람|참조|제목) ?[:：].{0,400}",
    re.I,
)
SIGNATURE = re.compile(r"(?:--|—|––|__) ?")
MOBILE = re.compile(
    r"(?:sent (?:from|via|with|using|by) (?:my|mail|outlook|yahoo|the|a|an|gmail|proton|iphone|ipad|android|samsung|blackberry|spark|windows|mobile|mailspring|canary|airmail|hey)"
    r"|get outlook for|download outlook|sent from |von meine[mr] .{1,40} gesendet|gesendet (?:von|mit|über|aus) |diese nachricht wurde von meinem|outlook für .{1,20} beziehen|holen sie sich outlook"
    r"|envoyé (?:de|depuis|avec|à partir) |télécharger outlook|obtenir outlook|enviado (?:desde|do|de|a partir|con|via|através) |obtener outlook|obter o outlook|obtenga outlook"
    r"|inviato (?:da|dal|con) |scarica outlook|ottieni outlook|verzonden (?:vanaf|vanuit|met|via) |verstuurd (?:vanaf|met|via) |outlook voor .{1,20} downloaden"
    r"|skickat från |skickades från |sendt fra |hent outlook|lähetetty |hanki outlook|wysłano z |wysłane z |pobierz aplikację outlook|odesláno z|odoslané z|získejte outlook"
    r"|elküldve |trimis de pe |poslano s |poslano iz |отправлено (?:с|из) |надіслано (?:з|із) |изпратено от |στάλθηκε από |iphone'umdan|.{1,20}(?:ımdan|umdan) gönderildi|gönderen: outlook"
    r"|נשלח מה|أرسلت من|تم الإرسال من|ส่งจาก|được gửi từ|đã gửi từ|gửi từ|dikirim dari|发自我的|发自|來自我的|從我的|(?:iphone|ipad)から送信|.{1,30}から送信|나의 .{1,20}에서 보냄|내 .{1,20}에서 보냄).{0,100}",
    re.I,
)
# With what people end a letter: alone on its line, or with a name behind it.
CLOSING = (
    r"(?:(?:with )?(?:my |our )?(?:(?:very )?(?:best|kind|kindest|warm|warmest|many|friendly|sincere|cordial) )?(?:regards|wishes|greetings)|(?:with )?best|all the best|all best|cheers|sincerely"
    r"|yours (?:sincerely|faithfully|truly)|sincerely yours|respectfully|cordially|rgds|br|kr|take care|have a (?:nice|great|good) (?:day|evening|weekend|week)"
    r"|mit (?:freundlich|best|herzlich|lieb|viel|sonnig|kolleg)\w{0,8} gr(?:ü|ue)(?:ß|ss)\w{0,3}|(?:freundliche|beste|herzliche|liebe|viele|schöne|sonnige)n? gr(?:ü|ue)(?:ß|ss)e?n?"
    r"|(?:viele|lieben|schönen|besten) gru(?:ß|ss)|gr(?:u|ü|ue)(?:ß|ss)e?|mfg|vg|lg|bg|hochachtungsvoll"
    r"|(?:bien |très )?(?:cordialement|amicalement|sincèrement|respectueusement)(?: vôtre)?|(?:meilleures |sincères )?salutations(?: distinguées)?|cdlt|cdt|bien à (?:vous|toi)|bonne (?:journée|réception|soirée|fin de journée)"
    r"|(?:un )?(?:cordial |atento )?saludos?(?: cordial(?:es)?)?|(?:un )?cordial saludo|atentamente|cordialmente|un abrazo|reciba un cordial saludo"
    r"|(?:cordiali|distinti|cari|tanti|i migliori) saluti|saluti|un saluto|cordialità|a presto|buona giornata"
    r"|atenciosamente|att|(?:com os )?(?:melhores )?cumprimentos|abraços?|cordiais saudações|saudações"
    r"|(?:met )?(?:vriendelijke|hartelijke|beste|warme) groet(?:en)?|groet(?:en|jes)?|mvg|hoogachtend"
    r"|(?:med )?(?:vänlig|vänliga|venlig|vennlig|bästa|beste|bedste|hjertelig|kærlig|mange) h(?:ä|i|e)lsning(?:ar|er)?|(?:med )?(?:venlig|vennlig|bedste|beste|mange) hilsen|(?:bedste |beste |mange )?hilsen|hälsningar|hilsener|mvh|vh|hälsn"
    r"|ystävällisin terveisin|(?:parhain )?terveisin|terveisiä|yst\. terv\.|t\."
    r"|z poważaniem|pozdrawiam(?: serdecznie)?|(?:z )?(?:serdecznymi )?pozdrowieniami|pozdrowienia|s pozdravem|s přátelským pozdravem|zdraví|hezký den|s úctou|s pozdravom|pekný deň"
    r"|üdvözlettel|tisztelettel|üdv|cu (?:stimă|respect|drag)|toate cele bune|srdačan pozdrav|lijep pozdrav|(?:s )?poštovanj\w{1,3}|lep pozdrav|lp|pozdrav"
    r"|с уважением|с наилучшими пожеланиями|всего доброго|з повагою|с уважение|поздрави|με εκτίμηση|με φιλικούς χαιρετισμούς|χαιρετισμούς|saygılarımla|saygılarımızla|iyi çalışmalar|selamlar|sevgiler"
    r"|lugupidamisega|ar cieņu|pagarbiai|linkėjimais|salutacions(?: cordials)?|atentament|agur bero bat|kveðja|bestu kveðjur"
    r"|בברכה|תודה וברכה|מכבד|مع (?:أطيب )?التحي(?:ة|ات)|تحياتي|با احترام|ขอแสดงความนับถือ|ด้วยความเคารพ|trân trọng|thân ái|kính thư|salam|hormat (?:kami|saya)|terima kasih dan salam"
    r"|此致|此致 敬礼|祝好|顺祝商祺|敬上|谨上|よろしくお願いいたします|よろしくお願いします|宜しくお願い致します|よろしくお願い致します|敬具|以上|감사합니다|드림|올림)"
)
THANKS = (
    r"(?:(?:many |with many )?thanks(?: again| a lot| in advance| and (?:best |kind )?regards)?|thank you(?: very much| in advance| again)?|thx|danke(?: und gruß| im voraus)?|vielen dank(?: im voraus)?|besten dank"
    r"|merci(?: d'avance| beaucoup)?|(?:muchas )?gracias|grazie(?: mille)?|obrigad[oa]|bedankt|dank je|dank u|tack(?: på förhand)?|(?:mange )?tak(?:k)?|kiitos|kiitoksin|dziękuję|děkuji|ďakujem|köszönöm|mulțumesc|спасибо|дякую|teşekkürler)"
)
SIGN_OFF = re.compile(rf"{CLOSING} ?[,.!;，。、！:]{{0,3}}", re.I)
SIGN_OFF_NAMED = re.compile(rf"{CLOSING} ?[,.!;，。、！:]{{0,2}} (?P<name>(?:[^\W\d_]['’.\w-]{{0,30}} ?){{1,4}})", re.I)
THANKING = re.compile(rf"{THANKS} ?[,，、]", re.I)
DISCLAIMER = re.compile(
    r"\W{0,5}(?:confidential(?:ity)? (?:notice|note|warning)|confidentiality:|disclaimer\b|legal notice|privileged|important notice|this (?:e-?mail|message|communication|electronic mail)"
    r"(?: \(including any attachments\)| and (?:any|all|its) (?:files|attachments?)\b.{0,60}?)? (?:is|are|may|contains?|was|has been) (?:intended|confidential|private|privileged|contain|strictly|sent)"
    r"|the information (?:contained|transmitted) in this|the contents? of this e-?mail|diese (?:e-?mail|nachricht)(?: und .{1,40})? (?:ist|enthält|kann|sind) |der inhalt dieser e-?mail|vertraulichkeitshinweis"
    r"|ce (?:message|courriel|mail)(?: et .{1,60})? (?:est|sont|contient|peut) |avis de confidentialité|este (?:mensaje|correo)(?: .{1,60})? (?:es|está|contiene|va dirigido|se dirige) |aviso (?:legal|de confidencialidad)"
    r"|questa (?:e-?mail|comunicazione)|le informazioni contenute|avviso di riservatezza|esta mensagem .{0,60}(?:é|contém|pode) |dit bericht (?:is|kan|bevat) |de informatie in dit|denne (?:e-?mail|e-?post|meddelelse) )",
    re.I,
)
BANNER = re.compile(
    r"\W{0,5}(?:(?:caution|warning|attention|notice|external(?: e-?mail| sender| message)?)\W{1,5}.{0,80}(?:external|outside|originated|sender|organi[sz]ation|links)"
    r"|(?:this|the) (?:e-?mail|message) (?:originated|came|is|was sent) (?:from )?(?:an )?(?:outside|external)|you don't often get e-?mail from|achtung\W{1,5}.{0,60}extern|diese e-?mail (?:kommt|stammt) von (?:außerhalb|einem externen)"
    r"|attention\W{1,5}.{0,60}(?:externe|extérieur)|vous n'obtenez pas souvent|sie erhalten nicht (?:oft|häufig) e-?mails?)",
    re.I,
)


def bare(line: str) -> str:
    """A line as it is compared: without marks of emphasis, with single spaces."""
    return SPACE.sub(" ", line[:LONGEST].replace("\u2019", "'")).strip()


def introduces(text: str) -> bool:
    """Whether a line, or several joined, introduces what is quoted below it: "On Monday Ann wrote:"."""
    if not text or len(text) > LONGEST or text[-1] not in ":：" or not EVIDENCE.search(text):
        return False
    if WROTE.search(text):
        return True
    return bool(ADDRESS.search(text) and MOMENT.search(text))  # in any language


def divides(line: str) -> bool:
    """Whether everything below a line is another message."""
    return bool(STROKES.fullmatch(line) or FORWARDED.fullmatch(line))


def signs_off(line: str, below: Sequence[str]) -> bool:
    """Whether a line is closing words, and what is below them a signature."""
    if len(line) > LONGEST_CLOSING or len(below) > MAX_SIGNATURE or any(map(unsigned, below)):
        return False
    if SIGN_OFF.fullmatch(line):
        return True
    if THANKING.fullmatch(line):
        return not below or named(below[0])
    match = SIGN_OFF_NAMED.fullmatch(line)
    return match is not None and named(match["name"])


def unsigned(line: str) -> bool:
    """Whether a line is none of a signature."""
    return len(line) > LONGEST_SIGNED or POSTSCRIPT.match(line) is not None


def named(line: str) -> bool:
    """Whether a line can be a person's name."""
    words = line.split()
    return len(words) <= 4 and line[-1:] not in tuple(".!?,:") and not any(word[0].islower() for word in words)
