"""What mail systems say about a message, in the languages in which they say it.

Owns: the words by which a failure, a delay or a success is known, and those after which the returned message stands.
Leaves to others: what follows from them (`reports.prose`). Words are the weaker evidence: a report in a language that
is not here is known by its structure.
"""

from __future__ import annotations

import re


def _any(*alternatives: str) -> re.Pattern[str]:
    """One pattern of all; a space stands for itself."""
    return re.compile("|".join(alternatives), re.I)


# Whose name or address a mail system writes under.
SYSTEM = _any(
    r"mailer[-_ ]?daemon|mail[-_ ]?daemon\b|post[-_ ]?master|mail[ ._-]?deliver|delivery[ ._-]?subsystem|mail[ ._-]?system",
    r"mail administrator|mdaemon|mail[ ._-]?router|microsoftexchange[0-9a-f]{8}|delivery[ ._-]?notification",
    r"smtp[ ._-]?(?:mail[ ._-]?)?(?:service|server|gateway)s?\b|system (?:administrator|attendant)|messaging security suite",
    r"systemadministrator|administrateur syst[èe]me|administrador del? sistema|amministratore (?:di )?sistema|systembeheerder",
    r"\b(?:bounces?|ndr|dsn)@|メール配信|システム管理者|系统(?:管理员|退信)|系統管理員|系统邮件|시스템 관리자",
)
# These write nothing but reports.
DAEMON = _any(r"mailer[-_ ]?daemon|mail[-_ ]?deliver|delivery[ ._-]?subsystem|mdaemon@|microsoftexchange[0-9a-f]{8}")

# Someone's language for "it was not delivered", in a subject or a text.
FOREIGN = _any(
    # German, French, Spanish, Italian, Portuguese, Catalan, Romanian
    r"nicht zugestellt|nicht zustellbar|unzustellbar|nicht erreicht|zustellung\b.{0,60}fehlgeschlagen|annahme verweigert|fehler bei der (?:nachrichten)?(?:zustellung|[üu]bermittlung)",
    r"n['’]a (?:pas |pu ).{0,24}(?:remis|distribu|d[ée]livr|transmis|envoy|achemin)|non (?:remis|distribu|d[ée]livr)",
    r"impossible d(?:e |['’])(?:remettre|distribuer|d[ée]livrer|envoyer|acheminer)|[ée]chec d(?:e |['’])(?:la )?(?:remise|distribution|envoi)",
    r"no (?:se |ha |pudo |puede ).{0,32}entreg|no entregad|(?:fallo|error) (?:en la |de )entrega|imposible entregar",
    r"non (?:[èe]['’]? )?(?:stat[oa] |possibile |pu[oò]['’]? ).{0,32}(?:consegn|recapit)|non (?:recapitabil|consegnat)|impossibile (?:consegn|recapit)",
    r"mancat[oa] (?:consegna|recapito)|n[ãa]o (?:p[ôo]de|foi|pode|p[ôo]d).{0,32}entreg|n[ãa]o entreg|falha na entrega",
    r"no s['’]ha pogut (?:lliurar|entregar)|no lliurat|nu a (?:putut fi|fost) livrat|nelivrat|nelivrabil",
    # Dutch, Swedish, Danish, Norwegian, Finnish, Estonian, Latvian, Lithuanian
    r"niet (?:worden )?(?:afgeleverd|bezorgd)|onbestelbaar|kunde inte (?:levereras|l[äa]mnas)|inte levererats|ej levererbart|olevererat|oleverbart",
    r"kunne ikke (?:leveres|afleveres)|kan ikke leveres|ikke lever(?:t|et)\b|ei (?:voi|voitu|pystytty) toimittaa|toimittamaton",
    r"ei saanud (?:kohale )?toimetada|kohaletoimetamatu|nevar[ēe]ja piegād|neizdev[āa]s piegād|nepavyko pristatyti|nepristatyt",
    # Polish, Czech, Slovak, Hungarian, Slovenian, Croatian, Serbian
    r"nie (?:mog[łl]|mo[żz]|uda[łl]o|zosta[łl]).{0,32}dostarcz|niedostarcz|nepoda[řr]ilo.{0,24}doru[čc]i|nelze doru[čc]it|nedoru[čc]iteľ?n|nebyla? doru[čc]en",
    r"nem (?:lehet|siker[üu]lt|lehetett|volt).{0,24}k[ée]zbes[íi]t|k[ée]zbes[íi]thetetlen|ni bilo mogo[čc]e dostaviti|ni dostavljen",
    r"nije (?:mogu[ćc]e|bilo mogu[ćc]e|mogla) .{0,24}(?:isporu[čc]|dostav)|nije (?:isporu[čc]en|dostavljen)",
    # Turkish, Greek, Russian, Ukrainian, Bulgarian
    r"teslim edilemedi|iletilemedi|g[öo]nderilemedi|ulaşt[ıi]r[ıi]lamad[ıi]|δεν (?:ήταν|είναι|μπόρεσε|παραδόθηκε|κατέστη)|μη παραδοτέο|αποτυχία παράδοσης",
    r"не (?:может|могло|можем|удалось|удаётся|удается|было|был[оа]? |вдалося|може|бе|можа).{0,48}доставл?|не ?доставлен|невозможно доставить",
    # Japanese, Chinese, Korean
    r"(?:配信|配送|送信|配達|送達)(?:は)?(?:でき|され)(?:ません|ない)|送信に失敗|配信(?:に失敗|不能|エラー)|届(?:け(?:られ|でき)|き)ません|お届けできません|不達|未達|メールエラー|戻ってきました",
    r"无法(?:成功)?(?:发送|投递|送达|递送|传递)|未能(?:送达|投递|发送)|(?:投递|发送|传送)失败|退信|被退回|未傳遞|未传递|無法(?:傳送|傳遞|投遞|寄達|送達|寄送)|(?:傳送|寄送|投遞)失敗",
    r"(?:전송|전달|배달|발송)(?:하지|되지|할 수|될 수)|보내지 못|(?:발송|전송|배달|배송) ?실패|반송",
    # Arabic, Hebrew, Persian, Vietnamese, Thai, Indonesian
    r"لم يتم (?:تسليم|توصيل|إرسال)|تعذر (?:تسليم|توصيل|إرسال)|فشل (?:في )?(?:تسليم|توصيل|إرسال)|לא (?:ניתן|היה ניתן) למסור|לא נמסר|تحویل داده نشد",
    r"không (?:thể|được) (?:gửi|chuyển|phân phối)|ไม่สามารถ(?:ส่ง|จัดส่ง|นำส่ง)|ส่งไม่ถึง|tidak (?:dapat|bisa) (?:di)?(?:kirim|sampaikan|terkirim)|gagal (?:di)?kirim",
)  # fmt: skip

TITLE = _any(
    r"undeliver|deliver\w* (?:status|fail|problem|error|report|delay|warning)|fail\w* (?:deliver|notice|mail)|mail (?:delivery )?fail",
    r"return(?:ed|ing) (?:mail|e-?mail|message|to)|non[- ]?deliver|mail system error|mail error|error sending|could not (?:be )?(?:send|sent|deliver)",
    r"message \S{1,80} delayed|delayed mail|delivery has failed|not(?: been| yet been)? delivered|bounce|automatically rejected",
    r"(?:mail|message|delivery) (?:delayed|rejected|blocked|refused)|rejected (?:mail|message)|processing error|配信|" + FOREIGN.pattern,
)  # fmt: skip
# Sentences about a message that did not arrive. Each stands in the text of some mail system.
FAILURE = _any(
    r"could ?(?:n[o']t|n't| not) be (?:delivered|sent|processed)|can ?(?:not|'t) be delivered|(?:was|has|were) not (?:been )?(?:delivered|accepted)|not able to deliver",
    r"unable to (?:deliver|send)|wasn't able to deliver|failed permanently|permanent(?:ly)? (?:fatal )?(?:error|fail)|could not (?:deliver|send)|cannot deliver",
    r"del[ei]very has failed|del[ei]very (?:to .{1,300} )?(?:has )?failed|did not reach|following address(?:es)? (?:had|failed)|failed (?:address|recipient)",
    r"error delivering|error has occurred while|(?:trouble|problems?) delivering|delivery (?:errors|problems?)|failure reasons|no valid recipients?|not delivered to",
    r"transcript of session|undeliverable|delivery fail|returned to (?:the )?sender|mail failed|(?:was|were) aborted|returned because|non-?delivery",
    r"invalid (?:user|recipient|e-?mail|mailbox) ?(?:address)?|user mailbox exceeds|no mailbox here|invalid final delivery|unknown user|user unknown|user not known|no such user|did(?:n't| not) receive (?:this|your)|did not (?:exactly )?match",
    r"(?:was|been|is|automatically) (?:rejected|refused|blocked|bounced|returned)|not accepting (?:mail|messages)|encountered (?:an error|delivery)",
    r"error was detected while processing|unable to (?:locate|find) (?:the )?(?:user|recipient|mailbox)|message delivery|over ?quota|quota exceeded|" + FOREIGN.pattern,
)  # fmt: skip
# It is still being tried: what a subject says, and a text where nothing says that it was given up.
LATER = _any(
    r"\bdelay(?:ed)?\b|^warning|could not send (?:mail|message) for past|not yet|still being retried|will (?:be )?retr(?:y|ied)|postponed|deferred"
    r"|temporar\w+ (?:fail|error|problem|undeliver)|still undelivered",
    r"verz[öo]ger|noch nicht (?:zugestellt|[üu]bermittelt)|vor[üu]bergehend|weiterhin versucht|retard[ée]|diff[ée]r[ée]e?|pas encore|nouvelle tentative",
    r"retrasad|retraso|demorad|aplazad|todav[íi]a no|a[úu]n no|ritard|non (?:[èe] )?ancora|nuovo tentativo|atrasad|atraso|adiad|ainda n[ãa]o",
    r"vertraag|nog niet|opnieuw (?:worden )?geprobeerd|f[öo]rsena|f[öo]rdr[öo]j|[äa]nnu inte|forsink|endnu ikke|enn[åa] ikke|viiv[äa]st|viel[äa] ei",
    r"op[óo][źz]ni|jeszcze nie|zpo[žz]d|dosud n|zat[íi]m ne|oneskoren|zatia[ľl] ne|k[ée]slelt|k[ée]sik|m[ée]g nem|[îi]nt[âa]rzi|nu a fost [îi]nc[ăa]",
    r"gecik|hen[üu]z|ertelen|καθυστ|ακόμη δεν|задерж|отложен|ещ[её] не|временн|затрим|ще не|відкладен|забав|отложен",
    r"遅延|遅れて|まだ(?:配信|配送|送信)|再送(?:を|し|信)|一時的|延迟|延遲|延误|延誤|尚未|稍后重试|继续尝试|繼續嘗試|暂时|지연|아직|재시도|일시적",
    r"تأخر|تأخير|מתעכב|עיכוב|chậm trễ|ล่าช้า|tertunda",
)  # fmt: skip
GIVEN_UP = _any(
    r"permanent|giv(?:en|ing) up|gave up|not going to try|user unknown|unknown user|no such user|(?:does not|doesn't) exist|expired|cannot send message for|has failed|failed permanently|no longer be (?:re)?tried"
    r"|will not be (?:re)?tried|aborted|were? returned|(?<!do )(?<!you )not need to be resent",
    r"aufgegeben|endg[üu]ltig|dauerhaft|keine weiteren (?:versuche|zustell)|abandonn|d[ée]finiti[vf]|desist|no se (?:volver[áa]|intentar[áa] m[áa]s)|non verr",
    r"opgegeven|definitief|geen verdere|ger (?:nu )?upp|opgivet|gitt opp|luovuttiin|zaniechan|ostateczn|ukon[čc]en|v[ée]gleges|kal[ıi]c[ıi]|οριστικ",
    r"окончательн|прекращ|больше не|остаточн|припинен|断念|中止し|あきらめ|諦め|永続的|恒久的|放弃|放棄|永久|不再(?:尝试|重试|嘗試)|포기|영구|더 이상",
)  # fmt: skip
# Said so clearly that a subject of failure is what it takes to doubt it.
STILL = _any(
    r"(?:will|still) (?:be )?(?:keep |continue )?(?:(?:to )?attempt )?(?:to )?(?:retr(?:y|ied|ying)|try(?:ing)?|attempt delivery|be retried)|not yet been delivered"
    r"|delivery attempts will continue|no action is required|not need to re-?send|warning message only|advisory-only|will be retried|continue to (?:try|attempt)",
    r"weiter(?:hin|e)?.{0,40}(?:versuch|zustellversuche)|erneut versuch|sie m[üu]ssen nichts|seguir[áa].{0,20}intent|se reintentar|nous (?:continuons|allons continuer)"
    r"|sera (?:[àa] nouveau|retent)|continuer[àa]|continuar[áa]|verr[àa] (?:ritent|effettuato un nuovo)",
    r"будут продолжен|попытк\w+.{0,20}(?:продолж|повтор)|będ[ąa] (?:ponawiane|kontynuowane)|再送を(?:続|試|行)|送信を試み続け|(?:继续|繼續|稍后|稍後)(?:尝试|嘗試|重试|重試)|계속 (?:시도|재시도)",
)  # fmt: skip
# Success, and nothing else.
SUCCESS = _any(
    r"success(?:ful(?:ly)?)?\b.{0,60}\b(?:deliver|relay|sent|receiv)|(?:deliver|relay)(?:ed|y)\b.{0,60}\bsuccess|(?:was|has been|been|were) (?:successfully )?delivered (?:to|in)",
    r"return receipt|your message was delivered|delivery (?:confirmation|receipt)|\((?:success|relay(?:ed)?)\)",
    r"erfolgreich (?:[üu]bermittelt|zugestellt|weitergeleitet)|wurde.{0,80}(?<!nicht )zugestellt|[üu]bermittelt:|zugestellt:|a bien [ée]t[ée] (?:remis|d[ée]livr|distribu)|avec succ[èe]s|remis:",
    r"(?:se ha|fue|ha sido) entregad|con [ée]xito|entregado:|(?:[èe]['’]?|e['’]) stat[oa] (?:consegnat|recapitat)|con successo|consegnato:|foi entregue|com sucesso|entregue:",
    r"is (?:met succes )?(?:afgeleverd|bezorgd)|met succes|har levererats|levererat:|er leveret|er levert|on toimitettu|zosta[łl]a? (?:pomy[śs]lnie )?dostarczon|pomy[śs]lnie",
    r"[úu]sp[ěe][šs]n[ěe] doru[čc]|byla doru[čc]ena|sikeresen|ba[şs]ar[ıi]yla|teslim edildi|успешно|доставлено:|было доставлено|успішно|επιτυχ",
    r"正常に(?:配信|送信|届)|配信(?:されました|が?完了)|開封|成功(?:送达|投递|发送|送達|傳送|地)|已(?:成功)?(?:送达|投递|送達|傳遞)|성공적으로|전달되었습니다|전송되었습니다|بنجاح",
)  # fmt: skip

# -- where the returned message stands ---------------------------------------------------------------------------------

# The line after which it does: dashes or nothing, the words, dashes or nothing.
DIVIDER = re.compile(
    r"^[ \t>|*#]{0,8}[-=_*~|]{0,80}[ \t]{0,4}(?:"
    r"(?:this[ ]is[ ]a[ ]copy|below[ ](?:this[ ]line[ ])?is[ ]a[ ]copy|(?:here[ ]follows[ ])?a[ ]copy|included[ ]is[ ]a[ ]copy)"
    r"[ ]of[ ](?:the|your)[ ](?:original[ ])?(?:message|mail|e-?mail).{0,40}"
    r"|a[ ]copy[ ]of[ ]the[ ]original[ ]message[ ]below.{0,20}|below[ ]this[ ]line[ ]is[ ].{0,40}"
    r"|(?:--[ ])?(?:the[ ])?(?:body|headers?)(?:[ ]and[ ].{0,20})?[ ]of[ ](?:the|your)[ ](?:original|source|returned)?[ ]?(?:message|mail).{0,40}"
    r"|original[ ]m(?:essage|ail)(?:[ ](?:follows|headers|header|info|as|:).{0,30})?|returned[ ]message.{0,30}|unsent[ ]message.{0,20}"
    r"|returned[ ]mail(?:[ ]follows)?|old[ ]message|bounced[ ]e-?mail|undelivered[ ]message.{0,20}"
    r"|(?:the[ ])?first[ ]\d{1,4}[ ]lines[ ]of.{0,60}|message[ ](?:headers?|text|content)[ ]follows?|your[ ]message[ ](?:reads|follows).{0,20}"
    r"|(?:a[ ])?summary[ ]of[ ]the[ ]undelivered[ ]message.{0,40}"
    r"|urspr(?:ü|ue)ngliche[ ](?:nachricht|kopfzeilen|nachrichtenkopf.{0,10}|mail)|originalnachricht|kopfzeilen[ ]der[ ].{0,30}"
    r"|message[ ](?:original|d['’]origine)|en-?t[êe]tes[ ](?:du[ ]message[ ])?(?:initia(?:l|ux)|d['’]origine|de[ ]message.{0,20})"
    r"|(?:mensaje|encabezados[ ]del?[ ]mensaje)[ ]original(?:es)?|(?:intestazioni[ ]del[ ])?messaggio[ ]originale|(?:cabeçalhos[ ]da[ ])?mensagem[ ]original"
    r"|oorspronkelijk[ ]bericht|ursprungligt[ ]meddelande|oryginalna[ ]wiadomo[śs][ćc]|p[ůu]vodn[íi][ ]zpr[áa]va|исходн(?:ое[ ]сообщение|ые[ ]заголовки.{0,20})"
    r"|元の?(?:メール|メッセージ).{0,10}|原(?:始)?(?:邮件|郵件|信件).{0,6}|원본[ ]?(?:메일|메시지).{0,6}"
    r")[ \t.:：|]{0,4}(?:[-=_*~|].{0,40})?[ \t|]*$",
    re.I | re.M,
)  # fmt: skip
# A header section in the middle of a text: two fields of mail in a row.
SECTION = re.compile(
    r"^(?:>[ ]?)?(?:received|return-path|message-id|date|from|x-[a-z-]{1,40}|delivered-to|dkim-signature):.{0,998}\n"
    r"(?:[ \t].{0,998}\n){0,20}(?:>[ ]?)?(?:received|return-path|message-id|date|from|to|subject|mime-version|user-agent|x-[a-z-]{1,40}|by|id|with)\b.{0,5}:",
    re.I | re.M,
)
