"""The words of the page about a message, in the languages that it speaks.

Owns: the words, and which language a browser's wishes come to. Leaves to others: what is true (`about`).

A name in braces is put in. `{sender}` is a domain, `{recipient}` an address of which most is hidden, `{date}` a day as
2026-01-31.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    language: str  # its own name for itself
    title: str
    sent: str
    unnamed: str  # where more cannot be said
    recorded: str
    opens: str
    links: str
    replies: str
    with_address: str
    with_part: str
    with_program: str
    with_kind: str
    with_page: str
    nothing: str
    untracked: str  # of this copy
    kept: str
    cut: str
    itself: str
    choice: str
    forwarded: str
    several: str
    yours: str
    stop: str
    stop_means: str
    erase: str
    erase_means: str
    mail: str
    refused: str
    done: str
    stopped: str
    erased: str
    erasing: str
    perhaps: str
    noted: str
    failed_title: str
    failed: str
    busy: str
    contact: str
    languages: str


WORDS: dict[str, Words] = {
    "en": Words(
        language="English",
        title="About this message",
        sent="A message from {sender} was sent to {recipient} on {date}.",
        unnamed="A message with a link to this page was sent by way of this host. Who sent it, and to whom, is not on record here any more, or cannot be looked up right now.",
        recorded="What is recorded",
        opens="when the invisible picture in the message is loaded, as most mail programs do when the message is opened",
        links="which links in the message are followed, and when",
        replies="that you replied, and when",
        with_address="with that, the internet address that it came from",
        with_part="with that, a part of the internet address that it came from",
        with_program="with that, which mail program or browser it was",
        with_kind="with that, what kind of mail program or browser it was",
        with_page="with that, the page from which a link was followed",
        nothing="Nothing but that the message was sent, and whether it arrived.",
        untracked="Your copy of this message is not tracked.",
        kept="It is deleted after {days} days.",
        cut="The internet address and the program are deleted after {days} days.",
        itself="This page records nothing by being looked at. It sets no cookies and loads nothing from elsewhere.",
        choice="What you can do",
        forwarded="This page is about {recipient}. If somebody forwarded the message to you, please leave the choice to them.",
        several="Several people got the same copy of this message, so please say which address is yours.",
        yours="Your e-mail address",
        stop="Stop tracking me",
        stop_means="Messages that are sent by way of this host will not be tracked any more when they go to you. You still get them, and the links in the messages you have keep working.",
        erase="Stop, and delete what you have on me",
        erase_means="In addition, whoever runs this host is asked to delete what is kept about you.",
        mail="This does not stop any mail. For that, use the unsubscribe link in the message, or ask the sender.",
        refused="You have refused tracking. Messages to you are not tracked.",
        done="Thank you",
        stopped="Messages to you will not be tracked any more.",
        erased="What is kept about you will be deleted.",
        erasing="The wish to have deleted what is kept about you has been passed on to whoever runs this host.",
        perhaps="If this message was sent to the address that you gave, it will not be tracked any more.",
        noted="Your wish is noted. It takes effect within a few minutes.",
        failed_title="That did not work",
        failed="Your wish could not be saved. Please try again in a few minutes.",
        busy="There were too many requests from your network. Please try again in a minute.",
        contact="Questions? Write to {address}.",
        languages="Languages",
    ),
    "de": Words(
        language="Deutsch",
        title="Über diese Nachricht",
        sent="Eine Nachricht von {sender} wurde am {date} an {recipient} geschickt.",
        unnamed="Über diesen Server wurde eine Nachricht mit einem Link auf diese Seite verschickt. Von wem und an wen, ist hier nicht mehr gespeichert oder lässt sich gerade nicht nachsehen.",
        recorded="Was aufgezeichnet wird",
        opens="wann das unsichtbare Bild in der Nachricht geladen wird; die meisten Mailprogramme tun das beim Öffnen",
        links="welche Links in der Nachricht angeklickt werden, und wann",
        replies="dass Sie geantwortet haben, und wann",
        with_address="dazu die Internetadresse (IP-Adresse), von der es kam",
        with_part="dazu ein Teil der Internetadresse (IP-Adresse), von der es kam",
        with_program="dazu, welches Mailprogramm oder welcher Browser es war",
        with_kind="dazu, welche Art von Mailprogramm oder Browser es war",
        with_page="dazu die Seite, von der aus ein Link angeklickt wurde",
        nothing="Nichts, außer dass die Nachricht verschickt wurde und ob sie ankam.",
        untracked="Ihr Exemplar dieser Nachricht wird nicht ausgewertet.",
        kept="Nach {days} Tagen wird es gelöscht.",
        cut="Internetadresse und Programm werden nach {days} Tagen gelöscht.",
        itself="Diese Seite zeichnet nichts auf, wenn man sie ansieht. Sie setzt keine Cookies und lädt nichts von anderen Servern.",
        choice="Was Sie tun können",
        forwarded="Auf dieser Seite geht es um {recipient}. Wenn Ihnen jemand die Nachricht weitergeleitet hat, überlassen Sie bitte ihm oder ihr die Wahl.",
        several="Mehrere Personen haben dasselbe Exemplar dieser Nachricht bekommen. Geben Sie deshalb bitte an, welche Adresse Ihre ist.",
        yours="Ihre E-Mail-Adresse",
        stop="Mich nicht mehr auswerten",
        stop_means="Nachrichten, die über diesen Server an Sie gehen, werden nicht mehr ausgewertet. Sie bekommen sie weiterhin, und die Links in Ihren Nachrichten funktionieren weiter.",
        erase="Nicht mehr auswerten und löschen, was über mich gespeichert ist",
        erase_means="Zusätzlich wird der Betreiber dieses Servers aufgefordert, zu löschen, was über Sie gespeichert ist.",
        mail="Die Nachrichten selbst werden damit nicht abbestellt. Verwenden Sie dafür den Abmeldelink in der Nachricht, oder wenden Sie sich an den Absender.",
        refused="Sie haben der Auswertung widersprochen. Nachrichten an Sie werden nicht ausgewertet.",
        done="Vielen Dank",
        stopped="Nachrichten an Sie werden nicht mehr ausgewertet.",
        erased="Was über Sie gespeichert ist, wird gelöscht.",
        erasing="Ihr Wunsch, dass gelöscht wird, was über Sie gespeichert ist, wurde an den Betreiber dieses Servers weitergegeben.",
        perhaps="Falls diese Nachricht an die angegebene Adresse ging, wird sie nicht mehr ausgewertet.",
        noted="Ihr Wunsch ist notiert. Er wird innerhalb weniger Minuten wirksam.",
        failed_title="Das hat nicht geklappt",
        failed="Ihr Wunsch konnte nicht gespeichert werden. Bitte versuchen Sie es in einigen Minuten noch einmal.",
        busy="Aus Ihrem Netz kamen zu viele Anfragen. Bitte versuchen Sie es in einer Minute noch einmal.",
        contact="Fragen? Schreiben Sie an {address}.",
        languages="Sprachen",
    ),
    "fr": Words(
        language="Français",
        title="À propos de ce message",
        sent="Un message de {sender} a été envoyé à {recipient} le {date}.",
        unnamed="Un message contenant un lien vers cette page a été envoyé par l’intermédiaire de ce serveur. Son expéditeur et son destinataire n’y sont plus enregistrés, ou ne peuvent pas être consultés pour le moment.",
        recorded="Ce qui est enregistré",
        opens="quand l’image invisible du message est chargée, ce que la plupart des logiciels de messagerie font à l’ouverture",
        links="quels liens du message sont suivis, et quand",
        replies="que vous avez répondu, et quand",
        with_address="et l’adresse internet (adresse IP) d’origine",
        with_part="et une partie de l’adresse internet (adresse IP) d’origine",
        with_program="et le logiciel de messagerie ou le navigateur utilisé",
        with_kind="et le type de logiciel de messagerie ou de navigateur utilisé",
        with_page="et la page depuis laquelle un lien a été suivi",
        nothing="Rien, sinon que le message a été envoyé et s’il est arrivé.",
        untracked="Votre exemplaire de ce message ne fait l’objet d’aucun suivi.",
        kept="Ces données sont supprimées après {days} jours.",
        cut="L’adresse internet et le logiciel sont supprimés après {days} jours.",
        itself="Consulter cette page n’enregistre rien. Elle ne dépose pas de cookies et ne charge rien depuis d’autres serveurs.",
        choice="Ce que vous pouvez faire",
        forwarded="Cette page concerne {recipient}. Si quelqu’un vous a transféré le message, merci de lui laisser ce choix.",
        several="Plusieurs personnes ont reçu le même exemplaire de ce message : merci d’indiquer quelle adresse est la vôtre.",
        yours="Votre adresse e-mail",
        stop="Ne plus me suivre",
        stop_means="Les messages qui vous sont envoyés par l’intermédiaire de ce serveur ne feront plus l’objet d’un suivi. Vous continuerez à les recevoir, et les liens des messages que vous avez continueront à fonctionner.",
        erase="Ne plus me suivre et supprimer mes données",
        erase_means="En outre, il est demandé à l’exploitant de ce serveur de supprimer ce qui est conservé à votre sujet.",
        mail="Cela n’arrête pas les messages eux-mêmes. Pour cela, utilisez le lien de désabonnement du message ou adressez-vous à l’expéditeur.",
        refused="Vous avez refusé le suivi. Les messages qui vous sont adressés ne sont pas suivis.",
        done="Merci",
        stopped="Les messages qui vous sont adressés ne feront plus l’objet d’un suivi.",
        erased="Ce qui est conservé à votre sujet sera supprimé.",
        erasing="Votre demande de suppression a été transmise à l’exploitant de ce serveur.",
        perhaps="Si ce message a été envoyé à l’adresse indiquée, elle ne fera plus l’objet d’un suivi.",
        noted="Votre demande est notée. Elle prendra effet d’ici quelques minutes.",
        failed_title="Cela n’a pas fonctionné",
        failed="Votre demande n’a pas pu être enregistrée. Veuillez réessayer dans quelques minutes.",
        busy="Votre réseau a envoyé trop de demandes. Veuillez réessayer dans une minute.",
        contact="Des questions ? Écrivez à {address}.",
        languages="Langues",
    ),
    "es": Words(
        language="Español",
        title="Acerca de este mensaje",
        sent="El {date} se envió un mensaje de {sender} a {recipient}.",
        unnamed="A través de este servidor se envió un mensaje con un enlace a esta página. Quién lo envió y a quién ya no consta aquí, o no se puede consultar en este momento.",
        recorded="Qué se registra",
        opens="cuándo se carga la imagen invisible del mensaje, lo que la mayoría de los programas de correo hacen al abrirlo",
        links="qué enlaces del mensaje se siguen, y cuándo",
        replies="que usted ha respondido, y cuándo",
        with_address="además, la dirección de internet (dirección IP) de origen",
        with_part="además, una parte de la dirección de internet (dirección IP) de origen",
        with_program="además, qué programa de correo o navegador era",
        with_kind="además, qué tipo de programa de correo o navegador era",
        with_page="además, la página desde la que se siguió un enlace",
        nothing="Nada, salvo que el mensaje se envió y si llegó.",
        untracked="Su copia de este mensaje no es objeto de seguimiento.",
        kept="Se elimina a los {days} días.",
        cut="La dirección de internet y el programa se eliminan a los {days} días.",
        itself="Ver esta página no registra nada. No usa cookies ni carga nada de otros servidores.",
        choice="Qué puede hacer",
        forwarded="Esta página se refiere a {recipient}. Si alguien le reenvió el mensaje, deje que esa persona decida.",
        several="Varias personas recibieron la misma copia de este mensaje, así que indique cuál es su dirección.",
        yours="Su dirección de correo electrónico",
        stop="No hacerme más seguimiento",
        stop_means="Los mensajes que se le envíen a través de este servidor dejarán de ser objeto de seguimiento. Seguirá recibiéndolos, y los enlaces de los mensajes que ya tiene seguirán funcionando.",
        erase="No hacerme más seguimiento y borrar mis datos",
        erase_means="Además, se pide a quien gestiona este servidor que borre lo que se conserva sobre usted.",
        mail="Esto no detiene los mensajes. Para eso, use el enlace de baja del mensaje o diríjase al remitente.",
        refused="Usted ha rechazado el seguimiento. Los mensajes que se le envían no son objeto de seguimiento.",
        done="Gracias",
        stopped="Los mensajes que se le envíen ya no serán objeto de seguimiento.",
        erased="Lo que se conserva sobre usted se borrará.",
        erasing="Su petición de borrar lo que se conserva sobre usted se ha transmitido a quien gestiona este servidor.",
        perhaps="Si este mensaje se envió a la dirección indicada, ya no será objeto de seguimiento.",
        noted="Su petición está anotada. Surtirá efecto en unos minutos.",
        failed_title="No ha funcionado",
        failed="No se ha podido guardar su petición. Inténtelo de nuevo en unos minutos.",
        busy="Ha habido demasiadas peticiones desde su red. Inténtelo de nuevo en un minuto.",
        contact="¿Preguntas? Escriba a {address}.",
        languages="Idiomas",
    ),
    "it": Words(
        language="Italiano",
        title="Informazioni su questo messaggio",
        sent="Il {date} è stato inviato un messaggio da {sender} a {recipient}.",
        unnamed="Tramite questo server è stato inviato un messaggio con un link a questa pagina. Da chi e a chi non è più registrato qui, oppure al momento non si può consultare.",
        recorded="Che cosa viene registrato",
        opens="quando viene caricata l’immagine invisibile del messaggio, cosa che la maggior parte dei programmi di posta fa all’apertura",
        links="quali link del messaggio vengono seguiti, e quando",
        replies="che lei ha risposto, e quando",
        with_address="inoltre, l’indirizzo internet (indirizzo IP) di provenienza",
        with_part="inoltre, una parte dell’indirizzo internet (indirizzo IP) di provenienza",
        with_program="inoltre, quale programma di posta o browser era",
        with_kind="inoltre, che tipo di programma di posta o browser era",
        with_page="inoltre, la pagina da cui è stato seguito un link",
        nothing="Niente, salvo che il messaggio è stato inviato e se è arrivato.",
        untracked="La sua copia di questo messaggio non viene tracciata.",
        kept="Viene cancellato dopo {days} giorni.",
        cut="L’indirizzo internet e il programma vengono cancellati dopo {days} giorni.",
        itself="Guardare questa pagina non registra nulla. Non usa cookie e non carica nulla da altri server.",
        choice="Che cosa può fare",
        forwarded="Questa pagina riguarda {recipient}. Se qualcuno le ha inoltrato il messaggio, lasci a questa persona la scelta.",
        several="Più persone hanno ricevuto la stessa copia di questo messaggio: indichi quale indirizzo è il suo.",
        yours="Il suo indirizzo e-mail",
        stop="Non tracciarmi più",
        stop_means="I messaggi che le vengono inviati tramite questo server non saranno più tracciati. Continuerà a riceverli, e i link dei messaggi che ha già continueranno a funzionare.",
        erase="Non tracciarmi più e cancella i miei dati",
        erase_means="Inoltre, al gestore di questo server viene chiesto di cancellare ciò che è conservato su di lei.",
        mail="Questo non ferma i messaggi. Per quello usi il link di disiscrizione nel messaggio, oppure si rivolga al mittente.",
        refused="Lei ha rifiutato il tracciamento. I messaggi a lei indirizzati non vengono tracciati.",
        done="Grazie",
        stopped="I messaggi a lei indirizzati non saranno più tracciati.",
        erased="Ciò che è conservato su di lei sarà cancellato.",
        erasing="La sua richiesta di cancellare ciò che è conservato su di lei è stata trasmessa al gestore di questo server.",
        perhaps="Se questo messaggio è stato inviato all’indirizzo indicato, non sarà più tracciato.",
        noted="La sua richiesta è stata annotata. Avrà effetto entro qualche minuto.",
        failed_title="Non ha funzionato",
        failed="Non è stato possibile salvare la sua richiesta. Riprovi tra qualche minuto.",
        busy="Ci sono state troppe richieste dalla sua rete. Riprovi tra un minuto.",
        contact="Domande? Scriva a {address}.",
        languages="Lingue",
    ),
    "nl": Words(
        language="Nederlands",
        title="Over dit bericht",
        sent="Op {date} is een bericht van {sender} naar {recipient} gestuurd.",
        unnamed="Via deze server is een bericht met een link naar deze pagina verstuurd. Van wie en aan wie is hier niet meer vastgelegd, of kan nu niet worden opgezocht.",
        recorded="Wat wordt vastgelegd",
        opens="wanneer de onzichtbare afbeelding in het bericht wordt geladen; de meeste mailprogramma’s doen dat bij het openen",
        links="welke links in het bericht worden gevolgd, en wanneer",
        replies="dat u hebt geantwoord, en wanneer",
        with_address="daarbij het internetadres (IP-adres) waar het vandaan kwam",
        with_part="daarbij een deel van het internetadres (IP-adres) waar het vandaan kwam",
        with_program="daarbij welk mailprogramma of welke browser het was",
        with_kind="daarbij wat voor mailprogramma of browser het was",
        with_page="daarbij de pagina vanwaar een link werd gevolgd",
        nothing="Niets, behalve dat het bericht is verstuurd en of het is aangekomen.",
        untracked="Uw exemplaar van dit bericht wordt niet gevolgd.",
        kept="Na {days} dagen wordt het verwijderd.",
        cut="Het internetadres en het programma worden na {days} dagen verwijderd.",
        itself="Het bekijken van deze pagina legt niets vast. Ze plaatst geen cookies en laadt niets van andere servers.",
        choice="Wat u kunt doen",
        forwarded="Deze pagina gaat over {recipient}. Als iemand het bericht aan u heeft doorgestuurd, laat de keuze dan aan die persoon.",
        several="Meerdere mensen kregen hetzelfde exemplaar van dit bericht. Geef daarom aan welk adres van u is.",
        yours="Uw e-mailadres",
        stop="Volg mij niet meer",
        stop_means="Berichten die via deze server aan u worden gestuurd, worden niet meer gevolgd. U blijft ze ontvangen, en de links in de berichten die u hebt, blijven werken.",
        erase="Volg mij niet meer en verwijder mijn gegevens",
        erase_means="Daarnaast wordt de beheerder van deze server gevraagd te verwijderen wat over u wordt bewaard.",
        mail="Dit stopt de berichten zelf niet. Gebruik daarvoor de afmeldlink in het bericht, of vraag het de afzender.",
        refused="U hebt tracking geweigerd. Berichten aan u worden niet gevolgd.",
        done="Dank u",
        stopped="Berichten aan u worden niet meer gevolgd.",
        erased="Wat over u wordt bewaard, wordt verwijderd.",
        erasing="Uw verzoek om te verwijderen wat over u wordt bewaard, is doorgegeven aan de beheerder van deze server.",
        perhaps="Als dit bericht naar het opgegeven adres is gestuurd, wordt dat niet meer gevolgd.",
        noted="Uw verzoek is genoteerd. Het gaat binnen enkele minuten in.",
        failed_title="Dat is niet gelukt",
        failed="Uw verzoek kon niet worden opgeslagen. Probeer het over enkele minuten opnieuw.",
        busy="Er kwamen te veel verzoeken van uw netwerk. Probeer het over een minuut opnieuw.",
        contact="Vragen? Schrijf naar {address}.",
        languages="Talen",
    ),
    "pt": Words(
        language="Português",
        title="Sobre esta mensagem",
        sent="Em {date} foi enviada uma mensagem de {sender} para {recipient}.",
        unnamed="Através deste servidor foi enviada uma mensagem com um link para esta página. Quem a enviou e a quem já não consta aqui, ou não pode ser consultado neste momento.",
        recorded="O que é registado",
        opens="quando a imagem invisível da mensagem é carregada, o que a maioria dos programas de e-mail faz ao abrir",
        links="que links da mensagem são seguidos, e quando",
        replies="que respondeu, e quando",
        with_address="além disso, o endereço de internet (endereço IP) de origem",
        with_part="além disso, uma parte do endereço de internet (endereço IP) de origem",
        with_program="além disso, que programa de e-mail ou navegador era",
        with_kind="além disso, que tipo de programa de e-mail ou navegador era",
        with_page="além disso, a página a partir da qual um link foi seguido",
        nothing="Nada, exceto que a mensagem foi enviada e se chegou.",
        untracked="A sua cópia desta mensagem não é rastreada.",
        kept="É apagado ao fim de {days} dias.",
        cut="O endereço de internet e o programa são apagados ao fim de {days} dias.",
        itself="Ver esta página não regista nada. Não usa cookies nem carrega nada de outros servidores.",
        choice="O que pode fazer",
        forwarded="Esta página é sobre {recipient}. Se alguém lhe reencaminhou a mensagem, deixe a escolha a essa pessoa.",
        several="Várias pessoas receberam a mesma cópia desta mensagem; indique qual é o seu endereço.",
        yours="O seu endereço de e-mail",
        stop="Não me rastrear mais",
        stop_means="As mensagens que lhe forem enviadas através deste servidor deixam de ser rastreadas. Continua a recebê-las, e os links das mensagens que já tem continuam a funcionar.",
        erase="Não me rastrear mais e apagar os meus dados",
        erase_means="Além disso, pede-se a quem gere este servidor que apague o que está guardado sobre si.",
        mail="Isto não interrompe as mensagens. Para isso, use o link de cancelamento na mensagem ou contacte o remetente.",
        refused="Recusou o rastreamento. As mensagens que lhe são enviadas não são rastreadas.",
        done="Obrigado",
        stopped="As mensagens que lhe forem enviadas já não serão rastreadas.",
        erased="O que está guardado sobre si será apagado.",
        erasing="O seu pedido para apagar o que está guardado sobre si foi transmitido a quem gere este servidor.",
        perhaps="Se esta mensagem foi enviada para o endereço indicado, este já não será rastreado.",
        noted="O seu pedido está anotado. Produz efeito dentro de alguns minutos.",
        failed_title="Não funcionou",
        failed="Não foi possível guardar o seu pedido. Tente novamente dentro de alguns minutos.",
        busy="Houve demasiados pedidos da sua rede. Tente novamente dentro de um minuto.",
        contact="Perguntas? Escreva para {address}.",
        languages="Línguas",
    ),
    "pl": Words(
        language="Polski",
        title="O tej wiadomości",
        sent="Dnia {date} wysłano wiadomość od {sender} do {recipient}.",
        unnamed="Przez ten serwer wysłano wiadomość z odnośnikiem do tej strony. Kto i do kogo ją wysłał, nie jest tu już zapisane albo nie można tego teraz sprawdzić.",
        recorded="Co jest zapisywane",
        opens="kiedy wczytano niewidoczny obrazek w wiadomości; większość programów pocztowych robi to przy otwarciu",
        links="które odnośniki w wiadomości otwarto i kiedy",
        replies="że przyszła odpowiedź i kiedy",
        with_address="a także adres internetowy (adres IP), z którego to nastąpiło",
        with_part="a także część adresu internetowego (adresu IP), z którego to nastąpiło",
        with_program="a także jaki to był program pocztowy lub przeglądarka",
        with_kind="a także jakiego rodzaju był to program pocztowy lub przeglądarka",
        with_page="a także strona, z której otwarto odnośnik",
        nothing="Nic poza tym, że wiadomość wysłano i czy dotarła.",
        untracked="Ten egzemplarz wiadomości nie jest śledzony.",
        kept="Dane są usuwane po {days} dniach.",
        cut="Adres internetowy i program są usuwane po {days} dniach.",
        itself="Oglądanie tej strony niczego nie zapisuje. Strona nie używa plików cookie i niczego nie pobiera z innych serwerów.",
        choice="Co można zrobić",
        forwarded="Ta strona dotyczy adresu {recipient}. Jeśli wiadomość została przekazana dalej, prosimy zostawić wybór osobie, do której ją wysłano.",
        several="Ten sam egzemplarz wiadomości otrzymało kilka osób, dlatego prosimy podać swój adres.",
        yours="Twój adres e-mail",
        stop="Nie śledź mnie więcej",
        stop_means="Wiadomości wysyłane do Ciebie przez ten serwer nie będą już śledzone. Nadal będziesz je otrzymywać, a odnośniki w posiadanych wiadomościach będą działać.",
        erase="Nie śledź mnie więcej i usuń moje dane",
        erase_means="Ponadto operator tego serwera zostanie poproszony o usunięcie tego, co o Tobie przechowuje.",
        mail="Nie wstrzymuje to samych wiadomości. W tym celu użyj odnośnika do rezygnacji w wiadomości albo zwróć się do nadawcy.",
        refused="Śledzenie zostało odrzucone. Wiadomości do Ciebie nie są śledzone.",
        done="Dziękujemy",
        stopped="Wiadomości do Ciebie nie będą już śledzone.",
        erased="To, co jest o Tobie przechowywane, zostanie usunięte.",
        erasing="Prośba o usunięcie tego, co jest o Tobie przechowywane, została przekazana operatorowi tego serwera.",
        perhaps="Jeśli wiadomość wysłano na podany adres, nie będzie on już śledzony.",
        noted="Prośba została odnotowana. Zacznie obowiązywać w ciągu kilku minut.",
        failed_title="Nie udało się",
        failed="Nie udało się zapisać prośby. Spróbuj ponownie za kilka minut.",
        busy="Z Twojej sieci przyszło zbyt wiele żądań. Spróbuj ponownie za minutę.",
        contact="Pytania? Napisz na adres {address}.",
        languages="Języki",
    ),
}  # fmt: skip
DEFAULT = "en"
MOST = 50  # languages of a browser that are looked at
RANGE = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


def known(tag: str) -> str:
    """The language of a tag (BCP 47), or "" where it is none of ours."""
    first = re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]
    return first if first in WORDS else ""


def preferred(accepted: str) -> str:
    """By an Accept-Language (RFC 9110 12.5.4): the language that is wanted most of those that there are."""
    wishes = []
    for place, wish in enumerate(accepted.split(",")[:MOST]):
        found = RANGE.fullmatch(wish)
        quality = float(found[2]) if found and found[2] else 1.0
        if found and quality > 0 and (language := DEFAULT if found[1] == "*" else known(found[1])):
            wishes.append((-quality, place, language))
    return min(wishes)[2] if wishes else DEFAULT
